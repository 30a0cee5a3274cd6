"""linear_cross_entropy for torch on the CPU: rows in blocks, their loss by the native core.

A block has the logits of its rows over the whole vocabulary, less the top of the row, which keeps
every digit of `mass`: to cross_entropy they are logits like others. Backward would compute them
again, a fourth product beside three. Where gradients will be asked for of one number, and are no
larger than what autodiff keeps, forward takes them at dy = 1 while it has the logits, as in Hsu et
al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2; backward scales them.
Maths, shapes and source: bpx/fused/linear_cross_entropy.py.
"""

import torch

from bpx_torch._dtype import finite
from bpx_torch._labels import over_labels
from bpx_torch._vocabulary import prepared, product_into
from bpx_torch.kernels._kept import times
from bpx_torch.kernels.cpu import _call, cross_entropy

DTYPES = (torch.float32, torch.float64)
ROWS = 256  # of a block: fewer make the products slower, more the block larger


def refuses(arrays, dims):
    x, weight, _, bias, class_weight = arrays
    floats = [a for a in (x, weight, bias, class_weight) if a is not None]
    if x.dtype not in DTYPES or any(a.dtype != x.dtype for a in floats):
        return "it takes float32 or float64, one for all"
    return _call.refuses(arrays)


def forward(*arrays, needs=(), **options):
    call = Call(*arrays, options)
    g = call.reduced(torch.ones_like(call.wy[:1])) if worth(call, needs) else None
    top, mass, loss, grads = call.walk(g, needs)
    shape = call.shape
    y = loss.reshape(shape) if options["reduction"] == "none" else call.reduced(loss.sum())
    return y, (top.reshape(shape), mass.reshape(shape), *grads)


def backward(dy, arrays, residuals, needs, **options):
    if len(residuals) > 2:
        grads = (None if a is None else times(a, dy) for a in residuals[2:])
    else:
        call = Call(*arrays, options)
        g = dy.reshape(-1) if options["reduction"] == "none" else call.reduced(dy.reshape(1))
        *_, grads = call.walk(g, needs, [r.reshape(-1) for r in residuals])
    dx, dweight, dbias, dclass = grads
    return dx, dweight, None, dbias, dclass


def worth(call, needs):
    """Whether forward takes the gradients: they are kept in place of what autodiff keeps, the
    logits and their logarithms."""
    kept, logits = call.x.numel() + call.weight.numel(), len(call.x) * len(call.weight)
    return call.options["reduction"] != "none" and any(needs) and kept <= 2 * logits


class Call:
    """The arrays on one axis of rows, and what is done with a block of them."""

    def __init__(self, x, weight, target, bias, class_weight, options):
        ignore_index = options["ignore_index"]
        self.x, self.class_weight, rows = prepared(x, weight, target, class_weight, ignore_index)
        self.ignored, _, self.label, self.wy = rows
        self.shape, self.x_shape, self.target = target.shape, x.shape, target.reshape(-1)
        self.weight, self.bias, self.options = weight, bias, options
        self.counts = options["reduction"] == "mean" and options["num_items"] is None
        own = {k: options[k] for k in ("ignore_index", "label_smoothing")}
        self.own = {**own, "reduction": "none"}

    def blocks(self):
        """Of ROWS at most; their logits are no more than rows x chunk, or than weight."""
        count, v = len(self.x), len(self.weight)
        most = min(ROWS, max(self.x.shape[-1], count * self.options["chunk"] // v))
        even = -(-count // -(-count // most))
        return [slice(first, min(first + even, count)) for first in range(0, count, even)]

    def reduced(self, total):
        """The loss of the whole from the sum of its rows."""
        if self.counts:
            return over_labels(total, self.wy)
        items = self.options["num_items"]
        return total if items is None else total / items

    def walk(self, g, needs, kept=None):
        """(top, mass, loss of the rows, gradients for dy = g of each; none without g). With (top,
        mass) of a walk before, the loss is computed again only if a gradient is made of it."""
        again = kept is None or needs[4]
        top, mass = (torch.empty_like(self.wy) for _ in range(2)) if again else kept
        loss, sums = torch.empty_like(self.wy), None if g is None else Gradients(self, g, needs)
        z = d = None
        for here in self.blocks():
            z = self.logits(here, z)
            if again:
                top[here] = z.amax(-1)
            z.sub_(finite(top[here]).unsqueeze(-1))
            if again:
                given = z, self.target[here], self.class_weight
                loss[here], (mass[here],) = cross_entropy.forward(*given, **self.own)
            if sums is not None:
                d = sums.take(here, z, top[here], mass[here], d)
        lse = top + mass
        if z_loss := self.options["z_loss"]:
            loss += (z_loss * self.wy * lse.square()).masked_fill(self.ignored, 0.0)
        return top, mass, loss, () if sums is None else sums.all(lse, loss)

    def logits(self, here, before):
        """Written over those of a block before."""
        weight, out = self.weight.T, like(before, here)
        x = self.x[here]
        z = torch.mm(x, weight, out=out) if out is not None else torch.mm(x, weight)
        if self.bias is not None:
            z += self.bias
        cap = self.options["softcap"]
        return z if cap is None else z.div_(cap).tanh_().mul_(cap)


class Gradients:
    """Sums over the blocks, for dy = g of each row."""

    # dlogits are those of cross_entropy, and of the rest of pull and of the softcap, as in the
    # plain rule:
    #   dlogits = (dz + g 2 z_loss wy lse p) (1 - (z / softcap)^2)
    #   dx = dlogits weight,  dweight = dlogits^T x,  dbias = sum(dlogits)
    #   dclass_weight = that of cross_entropy
    #                   + sum of g * (z_loss lse^2 - y, in a mean over labels) over label c

    def __init__(self, call, g, needs):
        self.call, self.needs, self.g = call, needs, g.expand(call.wy.shape).contiguous()
        self.dx = torch.empty_like(call.x) if needs[0] else None
        self.dweight = self.dbias = self.dclass = None

    def take(self, here, z, top, mass, before):
        """Add a block's, which is written over that of a block before, and over z."""
        call, z_loss, cap = self.call, self.call.options["z_loss"], self.call.options["softcap"]
        given = z, call.target[here], call.class_weight
        wanted, out = (True, False, self.needs[4]), like(before, here)
        g = self.g[here]
        d, _, dclass = cross_entropy.backward(g, given, (mass,), wanted, dlogits=out, **call.own)
        if z_loss:
            pull = g * (2 * z_loss * call.wy[here] * (top + mass))
            d.addcmul_(torch.exp(z - mass.unsqueeze(-1)), pull.unsqueeze(-1))
        if cap is not None:
            d.mul_(z.add_(top.unsqueeze(-1)).div_(cap).square_().neg_().add_(1))
        if self.needs[0]:
            torch.mm(d, call.weight, out=self.dx[here])
        if self.needs[1]:
            self.dweight = product_into(self.dweight, d.T, call.x[here])
        if self.needs[3]:
            self.dbias = added(self.dbias, d.sum(0))
        self.dclass = added(self.dclass, dclass)
        return d

    def all(self, lse, loss):
        """Of x, weight, bias and class_weight, None where not asked for."""
        call, o = self.call, self.call.options
        if self.needs[4] and (o["z_loss"] or call.counts):
            of_label = o["z_loss"] * lse.square()
            if call.counts:
                of_label = of_label - call.reduced(loss.sum())
            of_label = (self.g * of_label).masked_fill(call.ignored, 0.0)
            self.dclass = self.dclass.index_add(0, call.label, of_label)
        dx = self.dx.reshape(call.x_shape) if self.needs[0] else None
        return dx, self.dweight, self.dbias, self.dclass


def added(so_far, more):
    return more if so_far is None else so_far.add_(more)


def like(before, here):
    """As many rows of an array made before as there are here."""
    return None if before is None else before[: here.stop - here.start]
