"""cross_entropy for JAX in Pallas. Maths, shapes and source: bpx/losses/cross_entropy.py.

A program walks over one row of logits in float32 (float64 for float64 logits): forward leaves its
lse, backward its gradient, and XLA does what is left, a number a row. Where the result has the
digits for it, exp(logits - lse) is divided by its own sum, which takes out the rounding of lse.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from bpx import rule
from bpx_jax import _class_losses
from bpx_jax.kernels.pallas import _rows


def forward_body(row, x_ref, lse_ref):
    top, mass = top_and_mass(row, x_ref, lse_ref.dtype)
    lse_ref[row] = top + jnp.log(mass)


def top_and_mass(row, x_ref, dtype):
    """The largest of a row and sum(exp(x - largest))."""
    width = x_ref.shape[1]

    def load(start):
        return x_ref[row, pl.ds(start, _rows.block(width))]

    def step(start, first, x, sums):
        top, mass = sums
        x = _rows.unmet(x.astype(dtype), first, -jnp.inf)
        higher = jnp.maximum(top, x.max())
        # a power of two costs less than exp, and terms whose exponent is large count little
        two = jnp.exp2((x - higher) * math.log2(math.e))
        return higher, mass * jnp.exp(top - higher) + two.sum()

    least = jnp.asarray(jnp.finfo(dtype).min / 2, dtype)  # -inf less itself would be NaN
    return _rows.walk(width, load, step, (least, jnp.zeros((), dtype)))


def backward_body(
    row, x_ref, label_ref, lse_ref, g_ref, pull_ref, hit_ref, even_ref, dx_ref, *, exact, s
):
    # g (pull p - hit onehot(label) - s/V weight), or 0 in an ignored row, whose label is -1
    dtype, width = lse_ref.dtype, x_ref.shape[1]
    block = _rows.block(width)
    label = label_ref[row]

    @pl.when(label >= 0)
    def counted():
        lse, g = lse_ref[row], g_ref[row]
        pull, hit = g * pull_ref[row], g * hit_ref[row]

        def load(start):
            return x_ref[row, pl.ds(start, block)]

        def sum_of(start, first, x, mass):
            return mass + _rows.unmet(jnp.exp(x.astype(dtype) - lse), first, 0)

        if exact:
            pull = pull / _rows.walk(width, load, sum_of, jnp.zeros(block, dtype)).sum()

        def step(start, first, x, nothing):
            at = pl.ds(start, block)
            column = jax.lax.broadcasted_iota(jnp.int32, (block,), 0) + start
            dx = pull * jnp.exp(x.astype(dtype) - lse) - jnp.where(column == label, hit, 0)
            if s:
                dx = dx - g * even_ref[at]
            dx_ref[row, at] = dx.astype(dx_ref.dtype)
            return nothing

        _rows.walk(width, load, step, 0)

    @pl.when(label < 0)
    def ignored():
        def step(start, first, _, nothing):
            dx_ref[row, pl.ds(start, block)] = jnp.zeros(block, dx_ref.dtype)
            return nothing

        _rows.walk(width, lambda start: 0, step, 0)


def refuses(arrays, dims):
    logits, _, weight = arrays
    if logits.dtype != jnp.float64 and weight is not None and weight.dtype == jnp.float64:
        return f"weight is float64 beside {logits.dtype} logits"
    if logits.size == 0:
        return "logits has no elements"
    if logits.dtype == jnp.float32 and jax.default_backend() == "gpu" and rule.asked() is None:
        return "XLA is as fast for float32 logits, which backward reads twice here"
    return _rows.refuses(logits, dims["V"], "V", long=True)


@functools.partial(jax.jit, static_argnames=("ignore_index", "reduction", "label_smoothing"))
def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing):
    rows = _rows.Rows(logits)
    (lse,) = _rows.call(
        forward_body,
        (rows.statistic(),),
        rows.count,
    )(rows.table(logits, -jnp.inf))
    lse = lse.reshape(target.shape)
    options = ignore_index, reduction, label_smoothing
    return _class_losses.loss_of(logits, target, weight, lse, *options), (lse,)


@functools.partial(
    jax.jit, static_argnames=("needs", "ignore_index", "reduction", "label_smoothing")
)
def backward(dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing):
    logits, target, weight = arrays
    (lse,) = residuals
    rows, s = _rows.Rows(logits), label_smoothing
    x, wide = _class_losses.widened(logits, weight)
    ignored, label, _ = of_rows = _class_losses.labels(x, target, wide, ignore_index)
    g, pull, hit = _class_losses.pulls(dy, x, wide, of_rows, reduction, s)
    even = s / rows.columns * rows.vector(wide, 1)
    (dlogits,) = _rows.call(
        functools.partial(
            backward_body,
            exact=logits.dtype in (jnp.float32, jnp.float64),
            s=s,
        ),
        (rows.like(logits.dtype),),
        rows.count,
    )(
        rows.table(logits, -jnp.inf),
        jnp.where(ignored, -1, label).astype(jnp.int32).reshape(rows.count),
        *(jnp.broadcast_to(a, lse.shape).reshape(rows.count) for a in (lse, g, pull, hit)),
        even,
    )
    dlogits = rows.unpad(dlogits, logits.shape)
    dweight = None
    if needs[2]:
        dweight = _class_losses.weight_gradient(g, x, wide, lse, of_rows, reduction, s)
    return dlogits, None, dweight
