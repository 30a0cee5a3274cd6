"""linear_cross_entropy for torch on the CPU: rows in blocks, their loss by the native core.

A block has the logits of its rows over the whole vocabulary, which are cross_entropy's. Backward
would compute them again, a fourth product beside three. Where gradients will be asked for of one
number, and are three fifths of what autodiff keeps at most, forward takes them at dy = 1 while it
has the logits, as in Hsu et al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2; backward
scales them.
Maths, shapes and source: bpx/fused/linear_cross_entropy.py.
"""

from functools import cached_property

import torch

from bpx_torch._vocabulary import product_into
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
    g = call.unit if worth(call, needs) else None
    top, mass, loss, grads = call.walk(g, needs)
    shape = call.shape
    y = loss.reshape(shape) if options["reduction"] == "none" else call.reduced(loss.sum())
    return y, (top.reshape(shape), mass.reshape(shape), *grads)


def backward(dy, arrays, residuals, needs, **options):
    if len(residuals) > 2:
        grads = (None if a is None else times(a, dy) for a in residuals[2:])
    else:
        call = Call(*arrays, options)
        g = dy.reshape(-1) if options["reduction"] == "none" else float(dy) * call.unit
        *_, grads = call.walk(g, needs, [r.reshape(-1) for r in residuals])
    dx, dweight, dbias, dclass = grads
    return dx, dweight, None, dbias, dclass


def worth(call, needs):
    """Whether forward takes the gradients: they are kept in place of what autodiff keeps, the
    log-probabilities, and are three fifths of that at most."""
    kept, logits = call.x.numel() + call.weight.numel(), len(call.x) * len(call.weight)
    return call.options["reduction"] != "none" and any(needs) and 5 * kept <= 3 * logits


class Call:
    """The arrays on one axis of rows, and what is done with a block of them."""

    def __init__(self, x, weight, target, bias, class_weight, options):
        self.target, self.x = target.reshape(-1), x.reshape(target.numel(), x.shape[-1])
        self.shape, self.x_shape, self.ignored = target.shape, x.shape, None
        self.weight, self.bias, self.class_weight = weight, bias, class_weight
        self.options, ignore_index = options, options["ignore_index"]
        self.own = {"ignore_index": ignore_index, "label_smoothing": options["label_smoothing"]}
        self.counts = options["reduction"] == "mean" and options["num_items"] is None
        if ignore_index is not None:
            # torch compares uint8 with -100 as with 156
            ignored = self.target.long() == ignore_index
            if ignored.any():
                self.ignored, self.x = ignored, self.x.masked_fill(ignored.unsqueeze(-1), 0.0)

    @cached_property
    def label(self):
        label = self.target.long()
        return label if self.ignored is None else label.masked_fill(self.ignored, 0)

    @cached_property
    def wy(self):
        """The weights of the rows' labels."""
        some = self.class_weight
        wy = self.x.new_ones(len(self.x)) if some is None else some[self.label]
        return wy if self.ignored is None else wy.masked_fill(self.ignored, 0.0)

    @cached_property
    def count(self):
        """What the sum of the rows' losses is divided by; 0 where a mean has nothing in it."""
        if not self.counts:
            return self.options["num_items"] or 1
        plain = self.class_weight is None and self.ignored is None
        return len(self.x) if plain else float(self.wy.sum())

    @property
    def unit(self):
        """dy = 1 for the loss of a row."""
        return 1.0 / self.count if self.count else 0.0

    def reduced(self, total):
        """The loss of the whole from the sum of its rows."""
        if not self.count:
            return torch.zeros_like(total)
        return total if self.count == 1 else total / self.count

    def blocks(self):
        """Of ROWS at most; their logits are no more than rows x chunk, or than weight."""
        count, v = len(self.x), len(self.weight)
        most = min(ROWS, max(self.x.shape[-1], count * self.options["chunk"] // v))
        even = -(-count // -(-count // most))
        return [slice(first, min(first + even, count)) for first in range(0, count, even)]

    def walk(self, g, needs, kept=None):
        """(top, mass, loss of the rows, gradients for dy = g of each; none without g). With (top,
        mass) of a walk before, the loss is computed again only if a gradient is made of it."""
        again = kept is None or needs[4]
        sums, found = None if g is None else Gradients(self, g, needs), []
        z = d = None
        for here in self.blocks():
            z = self.logits(here, z)
            if again:
                given = z, self.target[here], self.class_weight
                loss, (top, mass) = cross_entropy.forward(
                    *given, reduction="none", above=True, **self.own
                )
                found.append((top, mass, loss))
            else:
                top, mass = (k[here] for k in kept)
            if sums is not None:
                d = sums.take(here, z, top + mass, d)
        top, mass, loss = map(joined, zip(*found, strict=True)) if again else (*kept, None)
        if loss is not None and (z_loss := self.options["z_loss"]):
            of_lse = z_loss * self.wy * (top + mass).square()
            loss += of_lse if self.ignored is None else of_lse.masked_fill(self.ignored, 0.0)
        return top, mass, loss, () if sums is None else sums.all(top, mass, loss)

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
        self.call, self.needs = call, needs
        self.g = call.x.new_full((len(call.x),), g) if isinstance(g, float) else g
        self.dx = torch.empty(call.x.shape, dtype=call.x.dtype) if needs[0] else None
        self.dweight = self.dbias = self.dclass = None

    def take(self, here, z, lse, before):
        """Add a block's, which is written over that of a block before, and over z."""
        call, z_loss, cap = self.call, self.call.options["z_loss"], self.call.options["softcap"]
        given = z, call.target[here], call.class_weight
        wanted, out = (True, False, self.needs[4]), like(before, here)
        g = self.g[here]
        d, _, dclass = cross_entropy.backward(
            g, given, (lse,), wanted, dlogits=out, reduction="none", **call.own
        )
        if z_loss:
            pull = g * (2 * z_loss * call.wy[here] * lse)
            d.addcmul_(torch.exp(z - lse.unsqueeze(-1)), pull.unsqueeze(-1))
        if cap is not None:
            d.mul_(z.div_(cap).square_().neg_().add_(1))
        if self.needs[0]:
            torch.mm(d, call.weight, out=self.dx[here])
        if self.needs[1]:
            self.dweight = product_into(self.dweight, d.T, call.x[here])
        if self.needs[3]:
            self.dbias = added(self.dbias, d.sum(0))
        self.dclass = added(self.dclass, dclass)
        return d

    def all(self, top, mass, loss):
        """Of x, weight, bias and class_weight, None where not asked for."""
        call, z_loss = self.call, self.call.options["z_loss"]
        if self.needs[4] and (z_loss or call.counts):
            of_label = z_loss * (top + mass).square()
            if call.counts:
                of_label -= call.reduced(loss.sum())
            of_label *= self.g
            if call.ignored is not None:
                of_label.masked_fill_(call.ignored, 0.0)
            self.dclass.index_add_(0, call.label, of_label)
        dx = self.dx.reshape(call.x_shape) if self.needs[0] else None
        return dx, self.dweight, self.dbias, self.dclass


def joined(parts):
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def added(so_far, more):
    return more if so_far is None else so_far.add_(more)


def like(before, here):
    """As many rows of an array made before as there are here."""
    return None if before is None else before[: here.stop - here.start]
