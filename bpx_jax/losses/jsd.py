"""jsd for JAX. Maths, shapes and source: bpx/losses/jsd.py."""

import math

import jax.numpy as jnp

from bpx.losses.jsd import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import each, reduce


def lines(x, target):
    """p (x - logm) and q (target - logm), 0 where p or q is."""
    x = at_least_float32(x)
    target = target.astype(x.dtype)
    p, q = jnp.exp(x), jnp.exp(target)
    neither = (p == 0) & (q == 0)  # autodiff of this forward would give NaN for two -inf
    logm = jnp.logaddexp(jnp.where(neither, 0.0, x), jnp.where(neither, 0.0, target))
    gap_p, gap_q = (a - logm + math.log(2) for a in (x, target))
    return p * jnp.where(p == 0, 0.0, gap_p), q * jnp.where(q == 0, 0.0, gap_q)


def forward(x, target, *, reduction):
    of_p, of_q = lines(x, target)
    return reduce(0.5 * (of_p + of_q).sum(-1), reduction).astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, reduction):
    # With g = dy (over the number of rows in a mean):
    #   dx = g/2 p (x - logm),  dtarget = g/2 q (target - logm)
    # the paths through p, through x and through logm add p - (p + q) / 2m p = 0 to either
    of_p, of_q = lines(*arrays)
    rows = of_p.shape[:-1]
    g = 0.5 * each(dy.astype(of_p.dtype), math.prod(rows), reduction)
    g = jnp.broadcast_to(g, rows)[..., None]
    return g * of_p, g * of_q


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.jsd"),
        Kernel("plain", forward, backward),
    ),
)


def jsd(x, target, *, reduction="mean"):
    """Jensen-Shannon divergence of the log-probabilities x and target (*N V). Maths:
    bpx/losses/jsd.py."""
    return RULE(x, target, reduction=reduction)
