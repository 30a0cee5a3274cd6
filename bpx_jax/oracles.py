"""JAX's own operation for every entry: same arguments, same options, differentiated by JAX.

Where JAX has no such operation, it is the usual formulation in jax.numpy. The verification kit
compares with them, the benchmark races against them. They are built without any code of bpx.
`DIFFERS` says in which cases of an entry JAX answers differently and why: a reason that begins with
"value" where the output differs too, else the gradient alone. `MISSING` says which entries JAX has
nothing for.
"""

import jax
import jax.numpy as jnp

from bpx_jax import _oracles_attention as _attention
from bpx_jax import _oracles_conv, _oracles_fused, _oracles_gated, _oracles_inputs
from bpx_jax import _oracles_implicit as _implicit
from bpx_jax import _oracles_losses_more as _losses_more
from bpx_jax import _oracles_normalization as _normalization
from bpx_jax import _oracles_pairs as _pairs
from bpx_jax import _oracles_pooling as _pooling
from bpx_jax import _oracles_recurrence as _recurrence
from bpx_jax import _oracles_recurrent as _recurrent
from bpx_jax import _oracles_shrinkage as _shrinkage
from bpx_jax import _oracles_surrogate as _surrogate


def _prelu(x, weight, *, axis=1):
    shape = [1] * x.ndim
    if weight.size > 1:
        shape[axis] = weight.size
    return jnp.where(x > 0, x, weight.reshape(shape) * x)


def _linear(x, weight, bias=None):
    y = jnp.einsum("...i,oi->...o", x, weight)
    return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)


def _gelu(x, *, approximate="none"):
    return jax.nn.gelu(x, approximate=approximate == "tanh")


def _softplus(x, *, beta=1.0, threshold=20.0):
    return jnp.where(x * beta > threshold, x, jax.nn.softplus(x * beta) / beta)


def _hardtanh(x, *, min_val=-1.0, max_val=1.0):
    if (min_val, max_val) == (-1.0, 1.0):
        return jax.nn.hard_tanh(x)
    return jnp.clip(x, min_val, max_val)


def _layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    variance = jnp.var(x, -1, keepdims=True)
    y = (x - jnp.mean(x, -1, keepdims=True)) * jax.lax.rsqrt(variance + eps)
    lead = (1,) * (x.ndim - 1)
    y = y if weight is None else y * weight.reshape(lead + weight.shape)
    return y if bias is None else y + bias.reshape(lead + bias.shape)


def _reduce(loss, reduction):
    return {"mean": jnp.mean, "sum": jnp.sum, "none": lambda loss: loss}[reduction](loss)


def _mse(x, target, *, factor=1.0, reduction="mean"):
    loss = _reduce(jnp.square(x - target), reduction)
    return loss if factor == 1 else factor * loss


def _huber(x, target, *, delta=1.0, reduction="mean"):
    size = jnp.abs(x - target)
    near = jnp.minimum(size, delta)
    return _reduce(0.5 * near**2 + delta * (size - near), reduction)


def _smooth_l1(x, target, *, beta=1.0, reduction="mean"):
    size = jnp.abs(x - target)
    if beta == 0:
        return _reduce(size, reduction)
    return _reduce(jnp.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta), reduction)


def _binary_cross_entropy(x, target, weight=None, *, reduction="mean"):
    log_p, log_q = jnp.maximum(jnp.log(x), -100.0), jnp.maximum(jnp.log(1 - x), -100.0)
    return _reduce(_weighted(-(target * log_p + (1 - target) * log_q), weight), reduction)


def _binary_cross_entropy_with_logits(
    logits, target, weight=None, pos_weight=None, *, reduction="mean"
):
    log_p, log_q = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    loss = -(_weighted(target * log_p, pos_weight) + (1 - target) * log_q)
    return _reduce(_weighted(loss, weight), reduction)


def _cross_entropy(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    keep = jnp.full(target.shape, True) if ignore_index is None else target != ignore_index
    label = jnp.where(keep, target, 0)
    log_p = jax.nn.log_softmax(logits)
    loss = -jnp.take_along_axis(log_p, label[..., None], -1)[..., 0]
    counted = keep.astype(logits.dtype) if weight is None else jnp.where(keep, weight[label], 0)
    loss = jnp.where(keep, loss if weight is None else weight[label] * loss, 0)
    if label_smoothing:
        smooth = jnp.where(keep, -_weighted(log_p, weight).mean(-1), 0)
        loss = (1 - label_smoothing) * loss + label_smoothing * smooth
    return loss.sum() / counted.sum() if reduction == "mean" else _reduce(loss, reduction)


def _soft_cross_entropy(logits, target, weight=None, *, reduction="mean", label_smoothing=0.0):
    q = (1 - label_smoothing) * target + label_smoothing / logits.shape[-1]
    return _reduce(-_weighted(q * jax.nn.log_softmax(logits), weight).sum(-1), reduction)


def _weighted(loss, weight):
    return loss if weight is None else loss * jnp.broadcast_to(weight, loss.shape)


ORACLES = {
    # activations
    "sin": jnp.sin,
    "exp": jnp.exp,
    "cos": jnp.cos,
    "square": jnp.square,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "prelu": _prelu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "gelu": _gelu,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "softplus": _softplus,
    "softsign": jax.nn.soft_sign,
    "arctan": jnp.arctan,
    "relu6": jax.nn.relu6,
    "hardtanh": _hardtanh,
    "hardsigmoid": jax.nn.hard_sigmoid,
    "hardswish": jax.nn.hard_swish,
    "relu_squared": lambda x: jnp.square(jax.nn.relu(x)),
    "hardshrink": lambda x, *, lambd=0.5: jnp.where(jnp.abs(x) > lambd, x, jnp.zeros_like(x)),
    "log_sigmoid": jax.nn.log_sigmoid,
    # layers
    "affine": lambda x, weight, bias: weight * x + bias,
    "linear": _linear,
    "softmax": lambda x, *, dim=-1: jax.nn.softmax(x, dim),
    "log_softmax": lambda x, *, dim=-1: jax.nn.log_softmax(x, dim),
    "layer_norm": _layer_norm,
    **_normalization.ORACLES,
    **_oracles_gated.ORACLES,
    **_shrinkage.ORACLES,
    **_pairs.ORACLES,
    **_oracles_inputs.ORACLES,
    **_oracles_conv.ORACLES,
    # losses
    "mse": _mse,
    "l1": lambda x, target, *, reduction="mean": _reduce(jnp.abs(x - target), reduction),
    "huber": _huber,
    "smooth_l1": _smooth_l1,
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
    "cross_entropy": _cross_entropy,
    "soft_cross_entropy": _soft_cross_entropy,
    **_pooling.ORACLES,
    **_recurrent.ORACLES,
    **_surrogate.ORACLES,
    **_recurrence.ORACLES,
    **_oracles_fused.ORACLES,
    **_attention.ORACLES,
    **_losses_more.ORACLES,
    **_implicit.ORACLES,
}
# What an entry is timed beside that computes again in backward to keep less.
RECOMPUTED = _implicit.RECOMPUTED

_ROUNDED_Y = "1 - y loses its digits where y rounds towards 1"
_EXPM1 = "e^x computed as expm1(x) + 1 loses its digits where e^x is small"
_NAN_MEAN = "value: the mean over nothing is NaN in JAX, 0 here"
_ZERO_LOG_ZERO = "value: 0 log 0 is NaN in JAX, 0 here"

DIFFERS: dict[str, dict[str, str]] = {
    "sigmoid": {"wide": _ROUNDED_Y, "tails": _ROUNDED_Y},
    "tanh": {"wide": _ROUNDED_Y, "tails": _ROUNDED_Y},
    "gelu": {"loud approximate": "value: 1 + tanh loses its digits in the lower tail"},
    "softsign": {"tails": "1 / (1 + |x|) - |x| / (1 + |x|)^2 cancels"},
    "elu": {"wide": _EXPM1, "tails": _EXPM1},
    "selu": {"wide": _EXPM1, "tails": _EXPM1},
    "celu": {"wide": _EXPM1, "tails": _EXPM1, "loud alpha": _EXPM1},
    "leaky_relu": {
        "kinks 0": "the slope at 0 is 1 in JAX",
        "kinks 1": "the slope at 0 is 1 in JAX",
    },
    "hardtanh": {"kinks 0": "the slope at the bounds is 1 in JAX", "kinks 2": "half at the bounds"},
    "softmax": {"far apart": "dy - sum(dy y) cancels where y rounds to 1"},
    **_oracles_gated.DIFFERS,
    **_shrinkage.DIFFERS,
    **_pairs.DIFFERS,
    **_oracles_inputs.DIFFERS,
    **_oracles_conv.DIFFERS,
    "mse": {"empty mean": _NAN_MEAN},
    "l1": {"empty mean": _NAN_MEAN, "kinks 0": "the slope of abs at 0 is 1 in JAX"},
    "huber": {"empty mean": _NAN_MEAN},
    "smooth_l1": {"empty mean": _NAN_MEAN, "kinks 3": "the slope of abs at 0 is 1 in JAX"},
    "binary_cross_entropy": {"empty": _NAN_MEAN},
    "binary_cross_entropy_with_logits": {"empty": _NAN_MEAN},
    "cross_entropy": {"no rows": _NAN_MEAN, "all ignored": _NAN_MEAN},
    "soft_cross_entropy": {"no rows": _NAN_MEAN, "masked classes": _ZERO_LOG_ZERO},
    **_pooling.DIFFERS,
    **_normalization.DIFFERS,
    **_recurrent.DIFFERS,
    **_surrogate.DIFFERS,
    **_recurrence.DIFFERS,
    **_oracles_fused.DIFFERS,
    **_attention.DIFFERS,
    **_losses_more.DIFFERS,
    **_implicit.DIFFERS,
}

MISSING: dict[str, str] = {}


def own_optimizers():
    """optax's optimizer for every entry that it has (its nadam is another method than the entry);
    empty where optax, which bpx does not need, is missing."""
    try:
        import optax
    except ModuleNotFoundError:
        return {}
    return {
        "sgd": optax.sgd,
        "adagrad": optax.adagrad,
        "adadelta": optax.adadelta,
        "rmsprop": optax.rmsprop,
        "rprop": optax.rprop,
        "adam": optax.adam,
        "adamw": optax.adamw,
        "lars": optax.lars,
        "lamb": optax.lamb,
        "adafactor": optax.adafactor,
        "muon": optax.contrib.muon,
        "schedule_free_sgd": optax.contrib.schedule_free_sgd,
        "schedule_free_adamw": optax.contrib.schedule_free_adamw,
        "adamax": optax.adamax,
        "radam": optax.radam,
        "lion": optax.lion,
    }
