"""Divergences and margins of optax.losses over the rules of bpx, re-exported by bpx_jax.losses.

Options (axis, alpha, gamma) are Python values. Stated differences from optax: in a divergence a
target of probability 0 adds 0 whatever the prediction, and has derivative 0 (optax: NaN at -inf);
the slope of max(z, 0) at z = 0 is 1 (optax: half); cosine_distance takes epsilon = 0 alone, whose
clip at other values the rule does not have.
"""

import jax.numpy as jnp

from bpx.profiles import profiled
from bpx.spec import require
from bpx_jax.losses._optax import _broadcast, _last, _promoted
from bpx_jax.losses._reduction import reduce
from bpx_jax.losses.cosine_embedding import cosine_embedding
from bpx_jax.losses.focal import focal
from bpx_jax.losses.kl_div import kl_div
from bpx_jax.losses.margin_ranking import margin_ranking


@profiled("kl_div", beyond=("reduction", "clip", "over_classes"))
def kl_divergence(
    log_predictions,
    targets,
    axis=-1,
    where=None,
    *,
    reduction="none",
    clip=None,
    over_classes=True,
):
    """clip: both are probabilities, taken within [clip, 1]. over_classes: a reduction other than
    "batchmean" is of the sums over `axis`."""
    require(
        where is None or reduction == "none",
        f"kl_div: where is given with reduction {reduction!r}, expected 'none'",
    )
    if clip is not None:
        log_predictions = jnp.log(jnp.clip(log_predictions, clip, 1.0))
        targets = jnp.clip(targets, clip, 1.0)
    if over_classes and reduction != "batchmean":
        return reduce(_divergence(log_predictions, targets, axis, where, False), reduction)
    x, target = _promoted(*_broadcast(log_predictions, targets))
    return kl_div(x, target, reduction=reduction)


def kl_divergence_with_log_targets(log_predictions, log_targets, axis=-1, where=None):
    return _divergence(log_predictions, log_targets, axis, where, True)


def hinge_loss(predictor_outputs, targets):
    return _hinge(predictor_outputs, targets, 1.0)


def perceptron_loss(predictor_outputs, targets):
    return _hinge(predictor_outputs, targets, 0.0)


def sigmoid_focal_loss(logits, labels, *, alpha=None, gamma=2.0):
    logits, labels = _broadcast(logits, labels)
    return focal(logits, labels.astype(logits.dtype), alpha=alpha, gamma=gamma, reduction="none")


def cosine_distance(predictions, targets, *, epsilon=0.0, axis=-1, where=None):
    require(epsilon == 0, f"cosine_distance: epsilon is {epsilon}, expected 0")
    a, b = _promoted(*_broadcast(predictions, targets))
    if where is not None:
        mask = jnp.broadcast_to(where, a.shape)
        a, b = jnp.where(mask, a, 0.0), jnp.where(mask, b, 0.0)
    a, b = _last(a, axis), _last(b, axis)
    similar = jnp.ones(a.shape[:-1], a.dtype)
    return cosine_embedding(a, b, similar, eps=0.0, reduction="none")


def _hinge(x, target, margin):
    x, target = _broadcast(x, target)
    if not jnp.issubdtype(target.dtype, jnp.floating):
        target = target.astype(x.dtype)
    x, target = _promoted(x, target)
    return margin_ranking(x, jnp.zeros_like(x), target, margin=margin, reduction="none")


def _divergence(x, target, axis, where, log_target):
    x, target = _promoted(*_broadcast(x, target))
    loss = kl_div(x, target, reduction="none", log_target=log_target)
    return jnp.sum(loss, axis=axis, where=where)
