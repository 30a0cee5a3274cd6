"""linear_cross_entropy for JAX on the CPU: rows in blocks, what is between their products by the
native core.

A block has the logits of its rows over the whole vocabulary, which become their own gradients.
Backward computes the logits again, a fourth product beside three. Where gradients will be asked for
of one number, and are no more than what autodiff keeps, forward takes them at dy = 1 while it has
the logits, as in Hsu et al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2; backward scales
them.
Maths, shapes and source: bpx/fused/linear_cross_entropy.py.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.native.losses import ignoring
from bpx_jax._labels import over_labels
from bpx_jax._vocabulary import prepared, product
from bpx_jax.kernels.cpu import _ffi, _losses

DTYPES = ("float32", "float64")
ROWS = 256  # of a block: fewer make the products slower, more the block larger
OPTIONS = (
    "ignore_index", "reduction", "label_smoothing", "softcap", "z_loss", "num_items", "chunk"
)  # fmt: skip


def refuses(arrays, dims):
    x, weight, target, bias, class_weight = arrays
    floats = [a for a in (x, weight, bias, class_weight) if a is not None]
    if str(x.dtype) not in DTYPES or any(a.dtype != x.dtype for a in floats):
        return "it takes float32 or float64, one for all"
    return _losses.refuses_labels(target) or _losses.refuses(arrays)


@functools.partial(jax.jit, static_argnames=("needs", *OPTIONS))
def forward(*arrays, needs=(), **options):
    x, weight, target, *_ = arrays
    call = Call(*arrays, options)
    taken = needs if worth(x, weight, target, needs, options) else None
    loss, top, mass, grads = call.walk(None, taken)
    y = call.reduced(loss.sum()) if call.whole else loss.reshape(target.shape)
    return y, (top.reshape(target.shape), mass.reshape(target.shape), *grads)


@functools.partial(jax.jit, static_argnames=("needs", *OPTIONS))
def backward(dy, arrays, residuals, needs, **options):
    if len(residuals) > 2:
        grads = (None if a is None else a * dy for a in residuals[2:])
    else:
        *_, grads = Call(*arrays, options).walk(dy, needs, residuals[0].reshape(-1))
    dx, dweight, dbias, dclass = grads
    return dx, dweight, None, dbias, dclass


def worth(x, weight, target, needs, options):
    """Whether forward takes the gradients: they are kept in place of what autodiff keeps, the
    log-probabilities, and are no more. (In torch three fifths of them: what a model keeps counts
    there. Under jit the loss is where backward begins.)"""
    kept, logits = x.size + weight.size, target.size * len(weight)
    return options["reduction"] != "none" and any(needs) and kept <= logits


class Call:
    """The arrays on one axis of rows, and what is done with a block of them."""

    def __init__(self, x, weight, target, bias, class_weight, options):
        ignore_index, self.options = options["ignore_index"], options
        self.x, self.class_weight, rows = prepared(x, weight, target, class_weight, ignore_index)
        self.ignored, _, self.label, self.wy = rows
        self.shape, self.weight, self.bias = x.shape, weight, bias
        self.target = _losses.labels(target.reshape(-1))
        self.whole = options["reduction"] != "none"
        self.counts = options["reduction"] == "mean" and options["num_items"] is None
        self.items = options["num_items"] or 1

    def reduced(self, total):
        """The loss of the whole from the sum of its rows."""
        return over_labels(total, self.wy) if self.counts else total / self.items

    def walk(self, dy, needs, seen=None):
        """(loss of the rows, top, mass, gradients of x, weight, bias and class_weight for dy, or
        1); of the gradients those that `needs` has, none without it. `seen`: the tops of the rows,
        where they are known."""
        of_rows = None if self.whole or dy is None else dy.reshape(-1)
        of_block = functools.partial(self.block, needs, dy if self.whole else None)
        along, sums = over_blocks(of_block, (self.x, self.target, of_rows, seen), self.rows())
        loss, top, mass, dx = along
        if needs is None:
            return loss, top, mass, ()
        dweight, dbias, dclass = sums
        if self.counts and needs[4]:  # a mean is divided by sum(wy)
            through_count = self.reduced(1.0 if dy is None else dy) * self.reduced(loss.sum())
            counted = jnp.where(self.ignored, 0.0, through_count)
            dclass = dclass.at[self.label].add(-counted)
        dx = dx.reshape(self.shape) if needs[0] else None
        return loss, top, mass, (dx, dweight, dbias, dclass)

    def rows(self):
        """Of a block: its logits are no more than rows x chunk, or than weight."""
        count, v = len(self.x), len(self.weight)
        most = min(ROWS, max(self.x.shape[-1], count * self.options["chunk"] // v))
        return -(-count // -(-count // most))

    def block(self, needs, dy, rows):
        """((loss, top, mass, dx) of the rows, (dweight, dbias, dclass_weight) of their sum)."""
        x, target, of_rows, seen = rows
        options, dtype = self.options, x.dtype
        z = product(x, self.weight, (1, 1))
        taken, count = needs or (False,) * 5, self.wy.sum() if self.counts else None
        along, down = (((n,), dtype) for n in z.shape)
        made = *(along,) * 3, None, *(down if n else None for n in taken[3:])
        of_labels = z.shape[1], target.dtype.itemsize, *ignoring(options["ignore_index"])
        dlogits, loss, top, mass, _, dbias, dclass = _ffi.call(
            "linear_cross_entropy",
            dtype,
            (z, target, self.bias, self.class_weight, count, dy if self.whole else of_rows, seen),
            (None if needs is None else (z.shape, dtype), *made),
            (0, len(x), 0, *of_labels, self.whole, needs is not None),
            (options["label_smoothing"], options["z_loss"], options["softcap"] or 0.0, self.items),
            aliases=None if needs is None else {0: 0},
        )
        dx = product(dlogits, self.weight, (1, 0)) if taken[0] else None
        dweight = product(dlogits, x, (0, 0)) if taken[1] else None
        return (loss, top, mass, dx), (dweight, dbias, dclass)


def over_blocks(of_block, rows, size):
    """of_block(rows) of every `size` rows: (its first results along the rows, the sum of the
    second); the last block has what is left."""
    count = len(rows[0])
    last = (count - 1) // size * size
    along, sums = of_block(jax.tree.map(lambda a: a[last:], rows))
    if not last:
        return along, sums

    def step(so_far, part):
        found, more = of_block(part)
        return jax.tree.map(jnp.add, so_far, more), found

    parts = jax.tree.map(lambda a: a[:last].reshape(-1, size, *a.shape[1:]), rows)
    sums, before = jax.lax.scan(step, sums, parts)
    joined = jax.tree.map(
        lambda b, a: jnp.concatenate([b.reshape(last, *a.shape[1:]), a]), before, along
    )
    return joined, sums
