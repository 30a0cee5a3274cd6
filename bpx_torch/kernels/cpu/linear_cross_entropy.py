"""linear_cross_entropy for torch on the CPU: rows in blocks, what is between their products by the
native core.

A block has the logits of its rows over the whole vocabulary, which become their own gradients.
Backward computes the logits again, a fourth product beside three. Where gradients will be asked for
of one number, and are three fifths of what autodiff keeps at most, forward takes them at dy = 1
while it has the logits, as in Hsu et al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2;
backward scales them.
Maths, shapes and source: bpx/fused/linear_cross_entropy.py.
"""

import torch

from bpx.native.losses import ignoring
from bpx_torch.kernels._kept import times
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable

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
    y, top, mass, grads = call.walk(None, needs if worth(call, needs) else None)
    return y, (top, mass, *grads)


def backward(dy, arrays, residuals, needs, **options):
    if len(residuals) > 2:
        grads = (None if a is None else times(a, dy) for a in residuals[2:])
    else:
        *_, grads = Call(*arrays, options).walk(dy, needs, residuals[0])
    dx, dweight, dbias, dclass = grads
    return dx, dweight, None, dbias, dclass


def worth(call, needs):
    """Whether forward takes the gradients: they are kept in place of what autodiff keeps, the
    log-probabilities, and are three fifths of that at most."""
    kept, logits = call.x.numel() + call.weight.numel(), len(call.x) * len(call.weight)
    return call.whole and any(needs) and 5 * kept <= 3 * logits


class Call:
    """The arrays on one axis of rows, and the walk over them, block by block."""

    def __init__(self, x, weight, target, bias, class_weight, options):
        rows, features = target.numel(), x.shape[-1]
        self.dtype, self.shape, self.x_shape, self.options = x.dtype, target.shape, x.shape, options
        self.target = readable(target, target.dtype)
        self.x = readable(x, x.dtype).reshape(rows, features)
        self.weight = readable(weight, x.dtype)
        self.bias, self.class_weight = readable(bias, x.dtype), readable(class_weight, x.dtype)
        self.ignoring = ignoring(options["ignore_index"])
        self.whole = options["reduction"] != "none"
        self.items = options["num_items"] or 1
        self.counts = options["reduction"] == "mean" and options["num_items"] is None
        if self.counts and class_weight is None and not self.ignoring[0]:
            self.counts, self.items = False, rows

    def blocks(self):
        """(first, rows) of each, ROWS at most; their logits are no more than rows x chunk, or than
        weight."""
        count, v = len(self.x), len(self.weight)
        most = min(ROWS, max(self.x.shape[-1], count * self.options["chunk"] // v))
        even = -(-count // -(-count // most))
        return [(first, min(even, count - first)) for first in range(0, count, even)]

    def walk(self, dy, needs, seen=None):
        """(y, top, mass, gradients of x, weight, bias and class_weight for dy, or 1); of the
        gradients those that `needs` has, none without it. `seen`: the tops of the rows, where they
        are known."""
        options, x, weight = self.options, self.x, self.weight
        row = torch.empty(self.shape, dtype=self.dtype)
        loss, top, mass = row, torch.empty_like(row), torch.empty_like(row)
        y = torch.empty((), dtype=self.dtype) if self.whole else None
        count = torch.empty((), dtype=self.dtype) if self.counts else None
        taken = needs or (False,) * 5
        dx = dweight = z = rows = None
        dbias, dclass = (
            torch.empty_like(a) if n else None
            for a, n in zip((self.bias, self.class_weight), taken[3:], strict=True)
        )
        blocks = self.blocks()
        if taken[0] and len(blocks) > 1:
            dx = torch.empty_like(x)
        of_labels = len(weight), self.target.element_size(), *self.ignoring
        dy, seen = readable(dy, self.dtype), readable(seen, self.dtype)
        given = self.target, self.bias, self.class_weight, count, dy, seen
        made = loss, top, mass, y, dbias, dclass
        numbers = options["label_smoothing"], options["z_loss"], options["softcap"] or 0.0
        for first, some in blocks:
            rows = self.rows(first, some, rows, count, of_labels)
            z = product(rows, weight.t(), z)
            _call.run(
                "linear_cross_entropy",
                self.dtype,
                (z, *given, z, *made),
                (first, some, len(x), *of_labels, self.whole, needs is not None),
                (*numbers, self.items),
            )
            if taken[0] and dx is None:
                dx = torch.mm(z, weight)
            elif taken[0]:
                torch.mm(z, weight, out=dx[first : first + some])
            if taken[1]:
                dweight = total(dweight, z.t(), rows)
        grads = () if needs is None else (dx, dweight, dbias, dclass)
        if dx is not None:
            grads = dx.view(self.x_shape), *grads[1:]
        return loss if y is None else y, top, mass, grads

    def rows(self, first, some, before, count, of_labels):
        """Those of x in a block, 0 where they are ignored, over those of a block before. With the
        first, the labels are counted."""
        count = None if first else count
        x = self.x if some == len(self.x) else self.x[first : first + some]
        out = (torch.empty_like(x) if before is None else before[:some]) if of_labels[2] else None
        if out is not None or count is not None:
            _call.run(
                "linear_cross_entropy_labels",
                self.dtype,
                (self.x, self.target, self.class_weight, count, out),
                (first, some, len(self.x), x.shape[-1], *of_labels),
            )
        return x if out is None else out


def product(a, b, over):
    """a b, over what is as large or larger."""
    return torch.mm(a, b) if over is None else torch.mm(a, b, out=over[: len(a)])


def total(so_far, a, b):
    return torch.mm(a, b) if so_far is None else so_far.addmm_(a, b)
