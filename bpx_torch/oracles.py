"""torch's own operation for every entry: same arguments, same options, differentiated by torch.

The verification kit compares with them, the benchmark races against them. They are built without
any code of bpx. `DIFFERS` says in which cases of an entry torch answers differently and why: a
reason that begins with "value" where the output differs too, else the gradient alone. `MISSING`
says which entries torch has nothing for.
"""

from functools import partial

import torch
import torch.nn.functional as F

from bpx_torch import _oracles_attention as _attention
from bpx_torch import _oracles_conv, _oracles_fused, _oracles_gated, _oracles_inputs
from bpx_torch import _oracles_implicit as _implicit
from bpx_torch import _oracles_losses_more as _losses_more
from bpx_torch import _oracles_normalization as _normalization
from bpx_torch import _oracles_pairs as _pairs
from bpx_torch import _oracles_pooling as _pooling
from bpx_torch import _oracles_recurrence as _recurrence
from bpx_torch import _oracles_recurrent as _recurrent
from bpx_torch import _oracles_shrinkage as _shrinkage
from bpx_torch import _oracles_surrogate as _surrogate


def _prelu(x, weight, *, axis=1):
    if axis == 1 or weight.numel() == 1:
        return F.prelu(x, weight)
    return F.prelu(x.movedim(axis, 1), weight).movedim(1, axis)


def _gelu(x, *, approximate="none"):
    return F.gelu(x, approximate=approximate)


def _softmax(x, *, dim=-1):
    return torch.softmax(x, dim)


def _log_softmax(x, *, dim=-1):
    return torch.log_softmax(x, dim)


def _layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _mse(x, target, *, factor=1.0, reduction="mean"):
    loss = F.mse_loss(x, target, reduction=reduction)
    return loss if factor == 1 else factor * loss


# torch refuses a loss whose weight asks for a gradient: without one, the weights get None
def _binary_cross_entropy(x, target, weight=None, *, reduction="mean"):
    return F.binary_cross_entropy(x, target, _constant(weight), reduction=reduction)


def _binary_cross_entropy_with_logits(
    logits, target, weight=None, pos_weight=None, *, reduction="mean"
):
    return F.binary_cross_entropy_with_logits(
        logits, target, _constant(weight), reduction=reduction, pos_weight=_constant(pos_weight)
    )


def _cross_entropy(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    y = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]),
        target.reshape(-1),
        _constant(weight),
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    return y.reshape(target.shape) if reduction == "none" else y


def _soft_cross_entropy(logits, target, weight=None, *, reduction="mean", label_smoothing=0.0):
    classes = logits.shape[-1]
    y = F.cross_entropy(
        logits.reshape(-1, classes),
        target.reshape(-1, classes),
        _constant(weight),
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    return y.reshape(logits.shape[:-1]) if reduction == "none" else y


def _constant(a):
    return None if a is None else a.detach()


ORACLES = {
    # activations
    "sin": torch.sin,
    "exp": torch.exp,
    "cos": torch.cos,
    "square": torch.square,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "prelu": _prelu,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": _gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "arctan": torch.atan,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "relu_squared": lambda x: F.relu(x).square(),
    "hardshrink": F.hardshrink,
    "log_sigmoid": F.logsigmoid,
    # layers
    "affine": lambda x, weight, bias: torch.addcmul(bias, x, weight),
    "linear": F.linear,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    **_normalization.ORACLES,
    **_oracles_gated.ORACLES,
    **_shrinkage.ORACLES,
    **_pairs.ORACLES,
    **_oracles_inputs.ORACLES,
    **_oracles_conv.ORACLES,
    # losses
    "mse": _mse,
    "l1": F.l1_loss,
    "huber": F.huber_loss,
    "smooth_l1": F.smooth_l1_loss,
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

_ROUNDED_Y = "1 - y loses its digits where the kept y rounds towards 1"
_CANCELS = "1 + erf and 1 + tanh lose their digits in the lower tail"
_SIXTH = "torch multiplies by 1/6 in float32"
_NAN_MEAN = "value: the mean over nothing is NaN in torch, 0 here"
_ZERO_LOG_ZERO = "value: 0 log 0 is NaN in torch, 0 here"

DIFFERS: dict[str, dict[str, str]] = {
    "sigmoid": {"wide": _ROUNDED_Y, "tails": _ROUNDED_Y},
    "tanh": {"wide": _ROUNDED_Y, "tails": _ROUNDED_Y},
    "gelu": {case: f"value: {_CANCELS}" for case in ("wide", "tails", "loud approximate")},
    "softsign": {"tails": "1 / (1 + |x|) - |x| / (1 + |x|)^2 cancels"},
    "celu": {"loud alpha": "torch rounds alpha to float32 before it divides by it"},
    "hardsigmoid": {case: _SIXTH for case in ("2d", "wide", "scalar", "tails")},
    "softmax": {"far apart": "dy - sum(dy y) cancels where y rounds to 1"},
    "layer_norm": {"one column": "torch computes x a + b: rounding where the true value is 0"},
    **_oracles_gated.DIFFERS,
    **_shrinkage.DIFFERS,
    **_pairs.DIFFERS,
    **_oracles_inputs.DIFFERS,
    **_oracles_conv.DIFFERS,
    **{name: {"empty mean": _NAN_MEAN} for name in ("mse", "l1", "huber", "smooth_l1")},
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

OPTIMIZERS = {
    "sgd": {"own": torch.optim.SGD, "own, fused": partial(torch.optim.SGD, fused=True)},
    "adagrad": {"own": torch.optim.Adagrad, "own, fused": partial(torch.optim.Adagrad, fused=True)},
    "adadelta": {"own": torch.optim.Adadelta},
    "rmsprop": {"own": torch.optim.RMSprop},
    "rprop": {"own": torch.optim.Rprop},
    "adam": {"own": torch.optim.Adam, "own, fused": partial(torch.optim.Adam, fused=True)},
    "adamw": {"own": torch.optim.AdamW, "own, fused": partial(torch.optim.AdamW, fused=True)},
    "lars": {},
    "lamb": {},
    "schedule_free_sgd": {},
    "schedule_free_adamw": {},
    "shampoo": {},
    "muon": {"own": torch.optim.Muon},
    "adafactor": {"own": torch.optim.Adafactor},
    "adamax": {"own": torch.optim.Adamax},
    "nadam": {"own": torch.optim.NAdam},
    "radam": {"own": torch.optim.RAdam},
    "lion": {},
}
