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
from bpx_jax.losses._optax_ctc import ctc_loss
from bpx_jax.losses._optax_more import (
    cosine_distance,
    hinge_loss,
    kl_divergence,
    kl_divergence_with_log_targets,
    perceptron_loss,
    sigmoid_focal_loss,
)
from bpx_jax.losses.binary_cross_entropy import RULE as BINARY_CROSS_ENTROPY
from bpx_jax.losses.binary_cross_entropy_with_logits import (
    RULE as BINARY_CROSS_ENTROPY_WITH_LOGITS,
)
from bpx_jax.losses.cosine_embedding import RULE as COSINE_EMBEDDING
from bpx_jax.losses.cross_entropy import RULE as CROSS_ENTROPY
from bpx_jax.losses.ctc import RULE as CTC
from bpx_jax.losses.focal import RULE as FOCAL
from bpx_jax.losses.gaussian_nll import RULE as GAUSSIAN_NLL
from bpx_jax.losses.hinge_embedding import RULE as HINGE_EMBEDDING
from bpx_jax.losses.huber import RULE as HUBER
from bpx_jax.losses.info_nce import RULE as INFO_NCE
from bpx_jax.losses.jsd import RULE as JSD
from bpx_jax.losses.kl_div import RULE as KL_DIV
from bpx_jax.losses.l1 import RULE as L1
from bpx_jax.losses.margin_ranking import RULE as MARGIN_RANKING
from bpx_jax.losses.mse import RULE as MSE
from bpx_jax.losses.multi_margin import RULE as MULTI_MARGIN
from bpx_jax.losses.nll_loss import RULE as NLL_LOSS
from bpx_jax.losses.poisson_nll import RULE as POISSON_NLL
from bpx_jax.losses.smooth_l1 import RULE as SMOOTH_L1
from bpx_jax.losses.soft_cross_entropy import RULE as SOFT_CROSS_ENTROPY
from bpx_jax.losses.soft_margin import RULE as SOFT_MARGIN
from bpx_jax.losses.triplet_margin import RULE as TRIPLET_MARGIN

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
        KL_DIV,
        NLL_LOSS,
        POISSON_NLL,
        GAUSSIAN_NLL,
        HINGE_EMBEDDING,
        SOFT_MARGIN,
        MARGIN_RANKING,
        MULTI_MARGIN,
        COSINE_EMBEDDING,
        FOCAL,
        TRIPLET_MARGIN,
        JSD,
        INFO_NCE,
        CTC,
    )
}

__all__ = [
    "GAPS",
    "RULES",
    "cosine_distance",
    "ctc_loss",
    "hinge_loss",
    "huber_loss",
    "kl_divergence",
    "kl_divergence_with_log_targets",
    "l2_loss",
    "perceptron_loss",
    "safe_softmax_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
]
