"""The usual formulations of further losses in JAX, for bpx_jax/oracles.py."""

import jax
import jax.numpy as jnp

_NAN_MEAN = "value: the mean over nothing is NaN in JAX, 0 here"
_ZERO_LOG_ZERO = "value: 0 log 0 is NaN in JAX, 0 here"


def _reduce(loss, reduction):
    return {"mean": jnp.mean, "sum": jnp.sum, "none": lambda loss: loss}[reduction](loss)


def _kl_div(x, target, *, reduction="mean", log_target=False):
    p = jnp.exp(target) if log_target else target
    loss = p * ((target if log_target else jnp.log(target)) - x)
    return loss.sum() / len(loss) if reduction == "batchmean" else _reduce(loss, reduction)


def _nll_loss(x, target, weight=None, *, ignore_index=-100, reduction="mean"):
    keep = jnp.full(target.shape, True) if ignore_index is None else target != ignore_index
    label = jnp.where(keep, target, 0)
    w = keep.astype(x.dtype) if weight is None else jnp.where(keep, weight[label], 0)
    loss = jnp.where(keep, -w * jnp.take_along_axis(x, label[..., None], -1)[..., 0], 0)
    return loss.sum() / w.sum() if reduction == "mean" else _reduce(loss, reduction)


def _poisson_nll(x, target, *, log_input=True, full=False, eps=1e-8, reduction="mean"):
    loss = jnp.exp(x) - target * x if log_input else x - target * jnp.log(x + eps)
    if full:
        n = jnp.where(target > 1, target, 1)
        stirling = n * jnp.log(n) - n + 0.5 * jnp.log(2 * jnp.pi * n)
        loss = loss + jnp.where(target > 1, stirling, 0)
    return _reduce(loss, reduction)


def _gaussian_nll(x, target, var, *, full=False, eps=1e-6, reduction="mean"):
    v = var + jax.lax.stop_gradient(jnp.maximum(var, eps) - var)
    loss = (jnp.log(v) + (x - target) ** 2 / v + (jnp.log(2 * jnp.pi) if full else 0)) / 2
    return _reduce(loss, reduction)


def _hinge_embedding(x, target, *, margin=1.0, reduction="mean"):
    far = jnp.maximum(margin - x, 0)
    return _reduce((x + far) / 2 + target * (x - far) / 2, reduction)


def _soft_margin(x, target, *, reduction="mean"):
    return _reduce(-jax.nn.log_sigmoid(target * x), reduction)


def _margin_ranking(x1, x2, target, *, margin=0.0, reduction="mean"):
    return _reduce(jnp.maximum(-target * (x1 - x2) + margin, 0), reduction)


def _focal(logits, target, *, alpha=0.25, gamma=2.0, reduction="mean"):
    logp, logq = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    loss = -(target * logp + (1 - target) * logq)
    loss = loss * (target * jnp.exp(logq) + (1 - target) * jnp.exp(logp)) ** gamma
    if alpha is not None:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return _reduce(loss, reduction)


def _multi_margin(x, target, weight=None, *, p=1, margin=1.0, reduction="mean"):
    own = jax.nn.one_hot(target, x.shape[-1], dtype=x.dtype)
    z = margin - (own * x).sum(-1, keepdims=True) + x
    loss = ((1 - own) * jnp.where(z > 0, z, 0) ** p).mean(-1)
    return _reduce(loss if weight is None else weight[target] * loss, reduction)


def _cosine_embedding(x1, x2, target, *, margin=0.0, eps=1e-12, reduction="mean"):
    sizes = (jnp.sum(x1**2, -1) + eps) * (jnp.sum(x2**2, -1) + eps)
    cos = jnp.sum(x1 * x2, -1) / jnp.sqrt(sizes)
    loss = (1 + target) * (1 - cos) + (1 - target) * jnp.maximum(cos - margin, 0)
    return _reduce(loss / 2, reduction)


def _triplet_margin(
    anchor, positive, negative, *, margin=1.0, swap=False, eps=1e-6, reduction="mean"
):
    def dist(a, b):
        return jnp.linalg.norm(a - b + eps, axis=-1)

    far = dist(anchor, negative)
    far = jnp.minimum(far, dist(positive, negative)) if swap else far
    return _reduce(jnp.maximum(dist(anchor, positive) - far + margin, 0), reduction)


def _jsd(x, target, *, reduction="mean"):
    p, q = jnp.exp(x), jnp.exp(target)
    logm = jnp.log((p + q) / 2)
    return _reduce(((p * (x - logm)).sum(-1) + (q * (target - logm)).sum(-1)) / 2, reduction)


def _info_nce(query, key, *, temperature=1.0, reduction="mean"):
    s = jnp.einsum("id,jd->ij", query, key) / temperature
    return _reduce(-jnp.diagonal(jax.nn.log_softmax(s)), reduction)


ORACLES = {
    "kl_div": _kl_div,
    "nll_loss": _nll_loss,
    "poisson_nll": _poisson_nll,
    "gaussian_nll": _gaussian_nll,
    "hinge_embedding": _hinge_embedding,
    "soft_margin": _soft_margin,
    "focal": _focal,
    "triplet_margin": _triplet_margin,
    "jsd": _jsd,
    "info_nce": _info_nce,
    "multi_margin": _multi_margin,
    "cosine_embedding": _cosine_embedding,
    "margin_ranking": _margin_ranking,
}

DIFFERS: dict[str, dict[str, str]] = {
    "kl_div": {
        "empty mean": _NAN_MEAN,
        "empty batchmean": _NAN_MEAN,
        "absent": _ZERO_LOG_ZERO,
        "absent log": _ZERO_LOG_ZERO,
    },
    **{
        name: {"empty mean": _NAN_MEAN}
        for name in (
            "poisson_nll",
            "gaussian_nll",
            "hinge_embedding",
            "soft_margin",
            "margin_ranking",
            "focal",
        )
    },
    "multi_margin": {"no rows": _NAN_MEAN},
    "cosine_embedding": {"no rows": _NAN_MEAN},
    "triplet_margin": {"no rows": _NAN_MEAN},
    "jsd": {"no rows": _NAN_MEAN, "absent": _ZERO_LOG_ZERO},
    "info_nce": {"no rows": _NAN_MEAN},
    "nll_loss": {"no rows": _NAN_MEAN, "all ignored": _NAN_MEAN},
}
