"""kl_div for JAX. Maths, shapes and source: bpx/losses/kl_div.py."""

import jax.numpy as jnp

from bpx.losses.kl_div import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import each, reduce


def lines(x, target, log_target):
    """(p, absent, gap), with gap 0 where p is."""
    x = at_least_float32(x)
    target = target.astype(x.dtype)
    p = jnp.exp(target) if log_target else target
    absent = p == 0
    if log_target:
        logp = jnp.where(absent, 0.0, target)
    else:
        logp = jnp.log(jnp.where(absent, 1.0, p))
    return p, absent, jnp.where(absent, 0.0, logp - x)


def forward(x, target, *, reduction, log_target):
    p, _, gap = lines(x, target, log_target)
    loss = p * gap
    if reduction == "batchmean":
        return (loss.sum() / max(len(loss), 1)).astype(x.dtype), ()
    return reduce(loss, reduction).astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, reduction, log_target):
    # With g = dy (over the number of elements in a mean, of rows in a batchmean):
    #   dx = -g p,  dtarget = g (gap + 1) | g p (gap + 1)       through p and through log(p)
    p, absent, gap = lines(*arrays, log_target)
    g = dy.astype(p.dtype)
    if reduction == "batchmean":
        g = g / max(len(p), 1)
    g = each(g, p.size, reduction)
    slope = p * (gap + 1) if log_target else jnp.where(absent, 0.0, gap + 1)
    return -g * p, g * slope


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.losses", SPEC.name),
        Kernel("plain", forward, backward),
    ),
)


def kl_div(x, target, *, reduction="mean", log_target=False):
    """Divergence of target (*N, probabilities or their logarithms) from the log-probabilities x
    (*N). Maths: bpx/losses/kl_div.py."""
    return RULE(x, target, reduction=reduction, log_target=log_target)
