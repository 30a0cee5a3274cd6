"""cross_entropy for JAX. Maths, shapes and source: bpx/losses/cross_entropy.py."""

import jax
import jax.numpy as jnp

from bpx.losses.cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_jax import _class_losses, _labels
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing):
    lse = jax.nn.logsumexp(at_least_float32(logits), -1)
    lse = jnp.where(lse == jnp.inf, jnp.nan, lse)  # no distribution
    options = ignore_index, reduction, label_smoothing
    return _class_losses.loss_of(logits, target, weight, lse, *options), (lse,)


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing):
    # p = softmax(logits), taken anew: exp(logits - lse) is off by |lse| eps. With
    # s = label_smoothing, g = dy (over sum(wy) in a mean) and
    # pull = (1 - s) wy + s/V sum(weight), the weight of all that a row's lse enters:
    #   dlogits = g * (pull * p                          through lse
    #                  - (1 - s) wy onehot(target)       through the label's logit
    #                  - s/V weight)                     through the smoothed logits
    logits, target, weight = arrays
    (lse,) = residuals
    x, weight = _class_losses.widened(logits, weight)
    ignored, label, wy = rows = _class_losses.labels(x, target, weight, ignore_index)
    s = label_smoothing
    g, pull, hit = _class_losses.pulls(dy, x, weight, rows, reduction, s)

    p = jax.nn.softmax(x, -1)
    onehot = _labels.onehot(label, x)
    dlogits = (g * pull)[..., None] * p - jnp.where(onehot, (g * hit)[..., None], 0.0)
    if s:
        even = (s / x.shape[-1] * g)[..., None]
        dlogits = dlogits - even * _class_losses.classwise(weight, x)
        dlogits = jnp.where(jnp.isnan(wy)[..., None], jnp.nan, dlogits)  # s = 1 included
    dlogits = jnp.where(ignored[..., None], 0.0, dlogits)

    dweight = None
    if needs[2]:
        dweight = _class_losses.weight_gradient(g, x, weight, lse, rows, reduction, s)
    return dlogits, None, dweight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.cross_entropy"),
        Kernel.lazy("pallas", "bpx_jax.kernels.pallas.cross_entropy"),
        Kernel("plain", forward, backward),
    ),
)


def cross_entropy(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Cross-entropy of logits (*N V) with the labels target (*N, integers); weight (V).
    Maths: bpx/losses/cross_entropy.py."""
    return RULE(
        logits,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
