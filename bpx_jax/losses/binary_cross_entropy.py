"""binary_cross_entropy for JAX. Maths, shapes and source: bpx/losses/binary_cross_entropy.py."""

import jax.numpy as jnp

from bpx.losses.binary_cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import beside, each, reduce, scaled, sum_to


def logs(x):
    # XLA's log1p in float64 is off by 230 roundings between -0.9 and -0.3 (jax 0.10.2, CPU)
    logq = jnp.where(x > 0.25, jnp.log(1 - x), jnp.log1p(-x))
    return jnp.maximum(jnp.log(x), -100.0), jnp.maximum(logq, -100.0)


def slope(x, target):
    # d bare / dx = (x - target) / (x (1 - x)), the denominator at least 1e-12; NaN outside [0, 1]
    spread = x * (1 - x)
    floor = jnp.where(spread < 1e-12, jnp.where(spread < 0, jnp.nan, 1e-12), spread)
    return (x - target) / floor


def forward(x, target, weight, *, reduction):
    xf = at_least_float32(x)
    target, weight = target.astype(xf.dtype), beside(weight, xf)
    logp, logq = logs(xf)
    loss = scaled(-(target * logp + (1 - target) * logq), weight)
    return reduce(loss, reduction).astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, reduction):
    # With g = dy (over the count in a mean) and gw = g * weight:
    #   dx = gw * (x - target) / max(x (1 - x), 1e-12)
    #   dtarget = gw * (logq - logp),  dweight = -g * (target logp + (1 - target) logq)
    x = at_least_float32(arrays[0])
    target, weight = arrays[1].astype(x.dtype), beside(arrays[2], x)
    g = each(dy.astype(x.dtype), x.size, reduction)
    gw = scaled(g, weight)
    logp, logq = logs(x)
    dx = gw * slope(x, target)
    dtarget = gw * (logq - logp)
    dweight = None
    if needs[2]:
        dweight = sum_to(-g * (target * logp + (1 - target) * logq), arrays[2].shape)
    return dx, dtarget, dweight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.losses", SPEC.name),
        Kernel("plain", forward, backward),
    ),
)


def binary_cross_entropy(x, target, weight=None, *, reduction="mean"):
    """Cross-entropy of probabilities x (*N) with target (*N); weight broadcasts to x.
    Maths: bpx/losses/binary_cross_entropy.py."""
    return RULE(x, target, weight, reduction=reduction)
