"""The loss rules for JAX, by entry name, and the losses of optax under its names."""

from bpx_jax.losses._optax import (
    GAPS,
    huber_loss,
    l2_loss,
    safe_softmax_cross_entropy,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
    squared_error,
)
from bpx_jax.losses.binary_cross_entropy import RULE as BINARY_CROSS_ENTROPY
from bpx_jax.losses.binary_cross_entropy_with_logits import (
    RULE as BINARY_CROSS_ENTROPY_WITH_LOGITS,
)
from bpx_jax.losses.cross_entropy import RULE as CROSS_ENTROPY
from bpx_jax.losses.huber import RULE as HUBER
from bpx_jax.losses.l1 import RULE as L1
from bpx_jax.losses.mse import RULE as MSE
from bpx_jax.losses.smooth_l1 import RULE as SMOOTH_L1
from bpx_jax.losses.soft_cross_entropy import RULE as SOFT_CROSS_ENTROPY

RULES = {
    rule.spec.name: rule
    for rule in (
        MSE,
        L1,
        HUBER,
        SMOOTH_L1,
        BINARY_CROSS_ENTROPY,
        BINARY_CROSS_ENTROPY_WITH_LOGITS,
        CROSS_ENTROPY,
        SOFT_CROSS_ENTROPY,
    )
}

__all__ = [
    "GAPS",
    "RULES",
    "huber_loss",
    "l2_loss",
    "safe_softmax_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
]
