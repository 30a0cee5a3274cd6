"""linear_cross_entropy for JAX on the CPU: rows in blocks, their loss by the native core.

A block has the logits of its rows over the whole vocabulary, which are cross_entropy's. Backward
would compute them again, a fourth product beside three. Where gradients will be asked for of one
number, and are three fifths of what autodiff keeps at most, forward takes them at dy = 1 while it
has the logits, as in Hsu et al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2; backward
scales them.
Maths, shapes and source: bpx/fused/linear_cross_entropy.py.
"""

import functools

import jax
import jax.numpy as jnp

from bpx_jax._labels import over_labels
from bpx_jax._vocabulary import logits, prepared, product
from bpx_jax.kernels.cpu import _losses, cross_entropy

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
    g = None
    if worth(x, weight, target, needs, options):
        g = jnp.broadcast_to(call.reduced(jnp.ones((), x.dtype)), call.wy.shape)
    top, mass, loss, grads = call.walk(g, needs)
    shape = target.shape
    y = loss.reshape(shape) if options["reduction"] == "none" else call.reduced(loss.sum())
    return y, (top.reshape(shape), mass.reshape(shape), *grads)


@functools.partial(jax.jit, static_argnames=("needs", *OPTIONS))
def backward(dy, arrays, residuals, needs, **options):
    if len(residuals) > 2:
        grads = (None if a is None else a * dy for a in residuals[2:])
    else:
        call = Call(*arrays, options)
        g = dy.reshape(-1) if options["reduction"] == "none" else call.reduced(dy)
        kept = [r.reshape(-1) for r in residuals]
        *_, grads = call.walk(jnp.broadcast_to(g, call.wy.shape), needs, kept)
    dx, dweight, dbias, dclass = grads
    return dx, dweight, None, dbias, dclass


def worth(x, weight, target, needs, options):
    """Whether forward takes the gradients: they are kept in place of what autodiff keeps, the
    log-probabilities, and are three fifths of that at most."""
    kept, logits = x.size + weight.size, target.size * len(weight)
    return options["reduction"] != "none" and any(needs) and 5 * kept <= 3 * logits


class Call:
    """The arrays on one axis of rows, and what is done with a block of them."""

    def __init__(self, x, weight, target, bias, class_weight, options):
        ignore_index = options["ignore_index"]
        self.x, self.class_weight, rows = prepared(x, weight, target, class_weight, ignore_index)
        self.ignored, _, self.label, self.wy = rows
        self.shape, self.target, self.weight, self.bias = x.shape, target.reshape(-1), weight, bias
        self.options = options
        self.counts = options["reduction"] == "mean" and options["num_items"] is None
        own = {k: options[k] for k in ("ignore_index", "label_smoothing")}
        self.own = {**own, "reduction": "none"}

    def reduced(self, total):
        """The loss of the whole from the sum of its rows."""
        if self.counts:
            return over_labels(total, self.wy)
        items = self.options["num_items"]
        return total if items is None else total / items

    def walk(self, g, needs, kept=None):
        """(top, mass, loss of the rows, gradients for dy = g of each; none without g). With (top,
        mass) of a walk before, the loss is computed again only if a gradient is made of it."""
        if kept is None or needs[4]:
            kept = None, None
        rows = (self.x, self.target, self.wy, g, *kept)
        of_block = functools.partial(self.block, needs)
        (top, mass, loss, dx), sums = over_blocks(of_block, rows, self.rows())
        lse = top + mass
        if loss is not None and (z_loss := self.options["z_loss"]):
            loss = loss + jnp.where(self.ignored, 0.0, z_loss * self.wy * jnp.square(lse))
        return top, mass, loss, () if g is None else self.gradients(g, needs, lse, loss, dx, sums)

    def rows(self):
        """Of a block: its logits are no more than rows x chunk, or than weight."""
        count, v = len(self.x), len(self.weight)
        most = min(ROWS, max(self.x.shape[-1], count * self.options["chunk"] // v))
        return -(-count // -(-count // most))

    # dlogits are those of cross_entropy, and of the rest of pull and of the softcap, as in the
    # plain rule:
    #   dlogits = (dz + g 2 z_loss wy lse p) (1 - (z / softcap)^2)
    #   dx = dlogits weight,  dweight = dlogits^T x,  dbias = sum(dlogits)
    #   dclass_weight = that of cross_entropy
    #                   + sum of g * (z_loss lse^2 - y, in a mean over labels) over label c

    def block(self, needs, rows):
        """((top, mass, loss, dx) of the rows, (dweight, dbias, dclass_weight) of their sum)."""
        x, target, wy, g, top, mass = rows
        cap, z_loss, loss = self.options["softcap"], self.options["z_loss"], None
        z = logits(x, self.weight, self.bias, cap)
        again = top is None
        given = z, target, self.class_weight
        if again:
            loss, (top, mass) = cross_entropy.forward(*given, above=True, **self.own)
        if g is None:
            return (top, mass, loss, None), None
        lse, wanted = top + mass, (True, False, needs[4])
        d, _, dclass = cross_entropy.backward(g, given, (lse,), wanted, **self.own)
        if z_loss:
            pull = g * (2 * z_loss * wy * lse)
            d = d + jnp.exp(z - lse[:, None]) * pull[:, None]
        if cap is not None:
            d = d * (1 - jnp.square(z / cap))
        dx = product(d, self.weight, (1, 0)) if needs[0] else None
        dweight = product(d, x, (0, 0)) if needs[1] else None
        # XLA's sum down columns this long is forty times slower than the product with ones
        dbias = product(jnp.ones((len(d),), d.dtype), d, (0, 0)) if needs[3] else None
        return (top, mass, loss, dx), (dweight, dbias, dclass if needs[4] else None)

    def gradients(self, g, needs, lse, loss, dx, sums):
        """Of x, weight, bias and class_weight, None where not asked for."""
        dweight, dbias, dclass = sums
        if needs[4]:
            of_label = self.options["z_loss"] * jnp.square(lse)
            if self.counts:
                of_label = of_label - self.reduced(loss.sum())
            dclass = dclass.at[self.label].add(jnp.where(self.ignored, 0.0, g * of_label))
        return dx.reshape(self.shape) if needs[0] else None, dweight, dbias, dclass


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
