"""linear_cross_entropy for torch on a GPU: torch's products, and one pass in Triton over the logits
of a chunk of the vocabulary each way. Maths, shapes and source: bpx/fused/linear_cross_entropy.py.

Backward would compute the logits again, a fourth product beside three. Where gradients will be
asked for of one number, and are no larger than the logits and their log-probabilities, forward
takes them at dy = 1 while it has a part of the rows' logits, as in Hsu et al. 2024, "Liger Kernel",
arXiv:2410.10989, section 3.2; backward scales them. The largest array is then that of the logits'
gradients, of BATCH bytes at most.
"""

import torch
import triton

from bpx_torch._labels import over_labels
from bpx_torch._vocabulary import chunks, prepared, product, product_into, row_losses
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._early import times
from bpx_torch.kernels.triton._logits import Walk, pulled, pulls
from bpx_torch.kernels.triton._logits_at_once import rows_at_once
from bpx_torch.kernels.triton._rows import refuses_types

PART = 2**27 + 2**23  # logits that are there at once
BATCH = 2**31 + 2**26  # bytes of gradients of logits that are multiplied at once
TILE = 256  # rows that a product takes at once


def refuses(arrays, dims):
    x, weight, _, bias, class_weight = arrays
    if (reason := _launch.refuses(arrays)) is not None:
        return reason
    found = refuses_types(("weight", "x", "bias"), (weight, x, bias))
    if found is not None:
        return found
    if class_weight is not None:
        return "class_weight is given"
    return "x or weight has no elements" if 0 in (x.numel(), weight.numel()) else None


def prepared_rows(x, weight, target, bias, ignore_index):
    """(x as rows, what labels() finds of them, bias)."""
    x_rows, _, rows = prepared(x, weight, target, None, ignore_index)
    return x_rows, rows, None if bias is None else _opaque.readable(bias)


def scaled(g, wy, reduction, num_items):
    """dy for the loss of a row."""
    if reduction != "mean":
        return g
    return over_labels(g, wy) if num_items is None else g / num_items


def reduced(loss, wy, target, x, reduction, num_items):
    if reduction == "none":
        return loss.reshape(target.shape).to(x.dtype)
    return scaled(loss.sum(), wy, reduction, num_items).to(x.dtype)


def forward(
    x, weight, target, bias, class_weight, *, ignore_index, reduction, label_smoothing, softcap,
    z_loss, num_items, chunk, needs=(),
):  # fmt: skip
    x_rows, rows, bias = prepared_rows(x, weight, target, bias, ignore_index)
    label, wy, v, s = rows[2], rows[3], weight.shape[0], label_smoothing
    early = ()
    if worth(x_rows, weight, reduction, needs):
        unit = scaled(torch.ones_like(wy[0]), wy, reduction, num_items)
        g = unit.expand(wy.shape).masked_fill(rows[0], 0.0)
        top, mass, at, even, *early = _at_once(
            x_rows, weight, bias, label, wy, g, needs, softcap, s, z_loss
        )
    else:
        walk = Walk(wy)
        for part, _, b, _, _, _ in chunks(weight, bias, None, label, chunk):
            walk.take(product(x_rows, weight[part].T), b, label, part.start, softcap, s)
        top, mass, at, even = walk.top, walk.total.log(), walk.at, walk.even
    loss = row_losses(top + mass, at, even, rows, None, v, s, z_loss)
    kept = (k.reshape(target.shape) for k in (top, mass))
    return reduced(loss, wy, target, x, reduction, num_items), (*kept, *early)


def worth(x_rows, weight, reduction, needs):
    """Whether forward takes the gradients: they are kept in place of the logits and the
    log-probabilities in float32, which a loss on its own keeps."""
    kept = (x_rows.numel() + weight.numel()) * weight.element_size()
    logits = len(x_rows) * len(weight) * 4
    return reduction != "none" and any(needs[:2]) and len(x_rows) > 0 and kept <= 2 * logits


def _at_once(x_rows, weight, bias, label, wy, g, needs, softcap, s, z_loss):
    """(top, mass, at, even) of the rows, and the gradients of x, weight and bias at dy = 1 (None
    where not asked for)."""
    v, count = len(weight), len(x_rows)
    batch = rows_of(
        BATCH // (v * weight.element_size()), count
    )  # whose gradients are multiplied at once
    part = rows_of(PART // v, batch)
    kept = torch.empty((4, count), dtype=wy.dtype, device=wy.device)
    dx = torch.empty_like(x_rows) if needs[0] else None
    dbias = torch.zeros(v, dtype=wy.dtype, device=wy.device) if needs[3] else None
    d = torch.empty((batch, v), dtype=weight.dtype, device=wy.device)
    dweight = None
    for start in range(0, count, batch):
        stop = min(start + batch, count)
        for first in range(start, stop, part):
            here = slice(first, min(first + part, stop))
            z = product(x_rows[here], weight.T)
            to = d[here.start - start : here.stop - start]
            made = z if needs[3] else to
            given = label[here], g[here], wy[here], kept[:, here]
            rows_at_once(z, bias, *given, made, softcap, s, z_loss)
            if needs[3]:
                dbias += z.sum(0)
                to.copy_(z)
            del z
        found, taken = d[: stop - start], x_rows[start:stop]
        if needs[0]:
            torch.mm(found, weight, out=dx[start:stop])
        if needs[1]:  # several batches are added up in the type of sums
            if batch >= count:
                dweight = torch.mm(found.T, taken)
            else:
                dweight = product_into(dweight, found.T, taken)
    del d, found
    return *kept, dx, None if dweight is None else dweight.to(weight.dtype), dbias


def rows_of(most, count):
    """Rows of a part where `count` are taken in equal parts of about `most`, in whole tiles of a
    product where these hold several."""
    each = triton.cdiv(count, triton.cdiv(count, max(most, 1)))
    return min(triton.cdiv(each, TILE) * TILE, count) if each > TILE else each


def backward(
    dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing, softcap, z_loss,
    num_items, chunk,
):  # fmt: skip
    x, weight, target, bias, _ = arrays
    if len(residuals) > 2:
        dx, dweight, dbias = (None if a is None else times(a, dy) for a in residuals[2:])
        return None if dx is None else dx.reshape(x.shape), dweight, None, dbias, None
    s = label_smoothing
    x_rows, rows, bias = prepared_rows(x, weight, target, bias, ignore_index)
    label, wy = rows[2], rows[3]
    top, mass = (_opaque.readable(r.reshape(-1)) for r in residuals)
    g = scaled(dy.to(wy.dtype).reshape(-1), wy, reduction, num_items)
    g = g.expand(wy.shape).masked_fill(rows[0], 0.0)
    weights = pulls(g, wy, top + mass, s, z_loss, len(weight))

    dx = torch.zeros_like(x_rows, dtype=wy.dtype) if needs[0] else None
    dweight = torch.empty_like(weight) if needs[1] else None
    dbias = torch.empty_like(bias, dtype=wy.dtype) if needs[3] else None
    for part, w, b, _, _, _ in chunks(weight, bias, None, label, chunk):
        z = product(x_rows, w.T)
        d = z if needs[3] else torch.empty_like(z, dtype=weight.dtype)
        pulled(z, b, label, top, mass, weights, d, part.start, softcap, s)
        if needs[3]:
            dbias[part] = d.sum(0)
            d = d.to(weight.dtype)
        if needs[0]:
            dx = product(d, w, dx)
        if needs[1]:
            torch.mm(d.T, x_rows, out=dweight[part])
    return dx.reshape(x.shape) if needs[0] else None, dweight, None, dbias, None
