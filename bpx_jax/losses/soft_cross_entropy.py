"""soft_cross_entropy for JAX. Maths, shapes and source: bpx/losses/soft_cross_entropy.py."""

import jax
import jax.numpy as jnp

from bpx.losses.soft_cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import beside, each, reduce, scaled


def lines(x, target, weight, lse, s):
    """(q, the weighted q, logp), with 0 for the logp of a class that is masked and not wanted."""
    q = (1 - s) * target + s / x.shape[-1] if s else target
    wq = scaled(q, weight)
    return q, wq, jnp.where(jnp.isneginf(x) & (wq == 0), 0.0, x - lse[..., None])


def forward(logits, target, weight, *, reduction, label_smoothing):
    x = at_least_float32(logits)
    lse = jax.nn.logsumexp(x, -1)
    target, weight = target.astype(x.dtype), beside(weight, x)
    _, wq, logp = lines(x, target, weight, lse, label_smoothing)
    return reduce(-(wq * logp).sum(-1), reduction).astype(logits.dtype), (lse,)


def backward(dy, arrays, residuals, needs, *, reduction, label_smoothing):
    # With p = softmax(logits), taken anew since exp(logits - lse) is off by |lse| eps, and
    # g = dy (over the number of rows in a mean):
    #   dlogits = g * (sum_V(weight q) p - weight q)          through lse, through the logits
    #   dtarget = -g * (1 - s) weight logp,  dweight = -sum of g * q * logp over the rows
    x = at_least_float32(arrays[0])
    target, weight = arrays[1].astype(x.dtype), beside(arrays[2], x)
    (lse,) = residuals
    q, wq, logp = lines(x, target, weight, lse, label_smoothing)
    g = each(dy.astype(x.dtype), lse.size, reduction)
    g = jnp.broadcast_to(g, lse.shape)[..., None]
    dlogits = g * (wq.sum(-1, keepdims=True) * jax.nn.softmax(x, -1) - wq)
    dtarget = -g * (1 - label_smoothing) * scaled(logp, weight)
    dweight = (-g * q * logp).sum(tuple(range(x.ndim - 1))) if needs[2] else None
    return dlogits, dtarget, dweight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.soft_cross_entropy"),
        Kernel("plain", forward, backward),
    ),
)


def soft_cross_entropy(logits, target, weight=None, *, reduction="mean", label_smoothing=0.0):
    """Cross-entropy of logits (*N V) with the probabilities target (*N V); weight (V).
    Maths: bpx/losses/soft_cross_entropy.py."""
    return RULE(logits, target, weight, reduction=reduction, label_smoothing=label_smoothing)
