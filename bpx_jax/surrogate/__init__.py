"""Rules that differ from the derivative on purpose, for JAX: the public functions, and RULES,
which maps entry names to rules."""

from bpx_jax.surrogate import gradient, spike, straight_through
from bpx_jax.surrogate.conv_feedback_alignment import RULE as CONV_FEEDBACK_ALIGNMENT
from bpx_jax.surrogate.conv_feedback_alignment import conv_feedback_alignment
from bpx_jax.surrogate.conv_sign_symmetric import RULE as CONV_SIGN_SYMMETRIC
from bpx_jax.surrogate.conv_sign_symmetric import conv_sign_symmetric
from bpx_jax.surrogate.direct_feedback_alignment import RULE as DIRECT_FEEDBACK_ALIGNMENT
from bpx_jax.surrogate.direct_feedback_alignment import direct_feedback_alignment
from bpx_jax.surrogate.gradient import (
    gradient_clip_norm,
    gradient_clip_value,
    gradient_reversal,
    gradient_scale,
)
from bpx_jax.surrogate.linear_feedback_alignment import RULE as LINEAR_FEEDBACK_ALIGNMENT
from bpx_jax.surrogate.linear_feedback_alignment import linear_feedback_alignment
from bpx_jax.surrogate.linear_sign_symmetric import RULE as LINEAR_SIGN_SYMMETRIC
from bpx_jax.surrogate.linear_sign_symmetric import linear_sign_symmetric
from bpx_jax.surrogate.spike import spike_arctan, spike_fast_sigmoid, spike_triangular
from bpx_jax.surrogate.straight_through import (
    clipped_straight_through_binarize,
    clipped_straight_through_round,
    clipped_straight_through_sign,
    straight_through_binarize,
    straight_through_round,
    straight_through_sign,
)

RULES = {
    **straight_through.RULES,
    **spike.RULES,
    **gradient.RULES,
    "linear_feedback_alignment": LINEAR_FEEDBACK_ALIGNMENT,
    "linear_sign_symmetric": LINEAR_SIGN_SYMMETRIC,
    "conv_feedback_alignment": CONV_FEEDBACK_ALIGNMENT,
    "conv_sign_symmetric": CONV_SIGN_SYMMETRIC,
    "direct_feedback_alignment": DIRECT_FEEDBACK_ALIGNMENT,
}

__all__ = [
    "RULES",
    "clipped_straight_through_binarize",
    "clipped_straight_through_round",
    "clipped_straight_through_sign",
    "conv_feedback_alignment",
    "conv_sign_symmetric",
    "direct_feedback_alignment",
    "gradient_clip_norm",
    "gradient_clip_value",
    "gradient_reversal",
    "gradient_scale",
    "linear_feedback_alignment",
    "linear_sign_symmetric",
    "spike_arctan",
    "spike_fast_sigmoid",
    "spike_triangular",
    "straight_through_binarize",
    "straight_through_round",
    "straight_through_sign",
]
