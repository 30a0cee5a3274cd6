"""multi_margin for JAX. Maths, shapes and source: bpx/losses/multi_margin.py."""

import jax.numpy as jnp

from bpx.losses.multi_margin import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._labels import at, labels, onehot
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import each, reduce


def lines(x, target, weight, margin):
    """(outside, where the label lies, wy, z), with z 0 at the label."""
    weight = None if weight is None else weight.astype(x.dtype)
    _, outside, label, wy = labels(target, x.shape[-1], weight, None, x.dtype)
    here = onehot(label, x)
    z = jnp.maximum(margin - at(x, label)[..., None] + x, 0)
    return outside, here, wy, jnp.where(here, 0.0, z)


def forward(x, target, weight, *, p, margin, reduction):
    wide = at_least_float32(x)
    _, _, wy, z = lines(wide, target, weight, margin)
    loss = wy * (z if p == 1 else jnp.square(z)).sum(-1) / x.shape[-1]
    return reduce(loss, reduction).astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, p, margin, reduction):
    # With g = dy / V (over the number of rows in a mean):
    #   dx = g wy (1 | 2z) where z > 0,  less their sum at the target
    #   dweight[c] = sum of g * sum_V(z | z^2) over the rows with label c
    x, target, weight = arrays
    x = at_least_float32(x)
    outside, here, wy, z = lines(x, target, weight, margin)
    g = each(dy.astype(x.dtype), wy.size, reduction) / x.shape[-1]
    dx = (g * wy)[..., None] * ((z > 0).astype(z.dtype) if p == 1 else 2 * z)
    dx = dx - jnp.where(here, dx.sum(-1, keepdims=True), 0.0)
    dx = jnp.where(outside[..., None], jnp.nan, dx)
    dweight = None
    if needs[2]:
        # 0 * wy: NaN for a label out of range
        dwy = g * (z if p == 1 else jnp.square(z)).sum(-1) + 0 * wy
        dweight = jnp.where(here, dwy[..., None], 0.0).sum(tuple(range(x.ndim - 1)))
    return dx, None, dweight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.multi_margin"),
        Kernel("plain", forward, backward),
    ),
)


def multi_margin(x, target, weight=None, *, p=1, margin=1.0, reduction="mean"):
    """Hinge loss of the scores x (*N V) with the labels target (*N, integers); weight (V). Maths:
    bpx/losses/multi_margin.py."""
    return RULE(x, target, weight, p=p, margin=margin, reduction=reduction)
