"""linear_cross_entropy for torch on the CPU: the loss of the logits by the native core.

Where one chunk holds the whole vocabulary, the logits are those of cross_entropy less the top of
their row, which keeps every digit of `mass`. Forward takes the gradients of one number at dy = 1 as
on a GPU, where they are no larger than what autodiff keeps; else backward computes the logits
again. A softcap, a z-loss, num_items and several chunks are the plain rule's.
Maths, shapes and source: bpx/fused/linear_cross_entropy.py.
"""

import torch

from bpx.rule import Kernel
from bpx_torch.kernels.cpu import _call, cross_entropy

DTYPES = (torch.float32, torch.float64)


def refuses(arrays, dims):
    x, weight, _, bias, class_weight = arrays
    floats = [a for a in (x, weight, bias, class_weight) if a is not None]
    if x.dtype not in DTYPES or any(a.dtype != x.dtype for a in floats):
        return "it takes float32 or float64, one for all"
    return _call.refuses(arrays)


def kernel(plain):
    """The cpu kernel of the rule whose plain kernel this is."""

    def forward(*arrays, needs=(), **options):
        if not whole(arrays[1], options):
            return plain.forward(*arrays, **options)
        return loss_of(*arrays, needs, options)

    def backward(dy, arrays, residuals, needs, **options):
        if not whole(arrays[1], options):
            return plain.backward(dy, arrays, residuals, needs, **options)
        return gradients_of(dy, arrays, residuals, needs, options)

    return Kernel("cpu", forward, backward, refuses=refuses, early=True)


def loss_of(x, weight, target, bias, class_weight, needs, options):
    x_rows, label = rows(x, target, options["ignore_index"])
    z, top = logits(x_rows, weight, bias)
    loss, (mass,) = cross_entropy.forward(z, label, class_weight, **its(options))
    early = ()
    if worth(x_rows, weight, needs, options):
        arrays = x, x_rows, weight, label, class_weight
        early = gradients(torch.ones_like(loss), z, mass, arrays, needs, options)
    if options["reduction"] == "none":
        loss = loss.reshape(target.shape)
    return loss, (top.reshape(target.shape), mass.reshape(target.shape), *early)


def gradients_of(dy, arrays, residuals, needs, options):
    x, weight, target, bias, class_weight = arrays
    if len(residuals) > 2:
        dx, dweight, dbias, dclass = (None if a is None else a * dy for a in residuals[2:])
        return dx, dweight, None, dbias, dclass
    x_rows, label = rows(x, target, options["ignore_index"])
    top, mass = (r.reshape(-1) for r in residuals)
    z, _ = logits(x_rows, weight, bias, top)
    dy = dy.reshape(-1) if options["reduction"] == "none" else dy
    arrays = x, x_rows, weight, label, class_weight
    dx, dweight, dbias, dclass = gradients(dy, z, mass, arrays, needs, options)
    return dx, dweight, None, dbias, dclass


def worth(x_rows, weight, needs, options):
    """Whether forward takes the gradients, while it has the logits: they are kept in place of what
    autodiff keeps, the logits and their logarithms."""
    kept, logits = x_rows.numel() + weight.numel(), len(x_rows) * len(weight)
    return options["reduction"] != "none" and any(needs) and kept <= 2 * logits


def gradients(dy, z, mass, arrays, needs, options):
    """Of x, weight, bias and class_weight, None where not asked for."""
    # dlogits are those of cross_entropy; dx = dlogits weight,  dweight = dlogits^T x,
    # dbias = sum(dlogits)
    x, x_rows, weight, label, class_weight = arrays
    given, wanted = (z, label, class_weight), (True, False, needs[4])
    d, _, dclass = cross_entropy.backward(dy, given, (mass,), wanted, **its(options))
    return (
        torch.mm(d, weight).reshape(x.shape) if needs[0] else None,
        torch.mm(d.T, x_rows) if needs[1] else None,
        d.sum(0) if needs[3] else None,
        dclass,
    )


def logits(x_rows, weight, bias, top=None):
    """The logits less the top of their row, and that; all of a row may be -inf."""
    z = torch.mm(x_rows, weight.T) if bias is None else torch.addmm(bias, x_rows, weight.T)
    top = z.amax(-1) if top is None else top
    return z.sub_(top.clamp(min=torch.finfo(z.dtype).min).unsqueeze(-1)), top


def whole(weight, options):
    """Whether cross_entropy is all there is to do with the logits."""
    others = options["softcap"], options["num_items"], options["z_loss"] or None
    return len(weight) <= options["chunk"] and others == (None, None, None)


def its(options):
    return {k: options[k] for k in ("ignore_index", "reduction", "label_smoothing")}


def rows(x, target, ignore_index):
    """x and target on one axis, x 0 where it is ignored."""
    label = target.reshape(-1)
    x_rows = x.reshape(label.numel(), x.shape[-1])
    if ignore_index is None:
        return x_rows, label
    # torch compares uint8 with -100 as with 156
    ignored = (label if label.dtype == torch.int64 else label.long()) == ignore_index
    return x_rows.masked_fill(ignored.unsqueeze(-1), 0.0), label
