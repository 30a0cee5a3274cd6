"""What stands around an optimizer in JAX, with optax's names among them, without optax.

What is returned works in optax.chain. TRANSFORMS are by entry name.
"""

from collections.abc import Callable
from typing import Any

from bpx_jax.transforms._optax import (
    MultiSteps,
    add_decayed_weights,
    apply_if_finite,
    clip,
    clip_by_block_rms,
    ema,
    reduce_on_plateau,
)
from bpx_jax.transforms.average import LookaheadParams, lookahead, weight_ema, weight_swa
from bpx_jax.transforms.clip import (
    adaptive_grad_clip,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
)
from bpx_jax.transforms.metric import early_stopping, reduce_lr_on_plateau
from bpx_jax.transforms.penalty import decoupled_decay, l1_penalty, l2_penalty
from bpx_jax.transforms.window import gradient_accumulation, skip_nonfinite, skip_not_finite

__all__ = [
    "TRANSFORMS",
    "LookaheadParams",
    "MultiSteps",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "apply_if_finite",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "decoupled_decay",
    "early_stopping",
    "ema",
    "gradient_accumulation",
    "l1_penalty",
    "l2_penalty",
    "lookahead",
    "reduce_lr_on_plateau",
    "reduce_on_plateau",
    "skip_nonfinite",
    "skip_not_finite",
    "weight_ema",
    "weight_swa",
]

TRANSFORMS: dict[str, Callable[..., Any]] = {
    "clip_by_value": clip_by_value,
    "clip_by_norm": clip_by_norm,
    "clip_by_global_norm": clip_by_global_norm,
    "adaptive_grad_clip": adaptive_grad_clip,
    "l1_penalty": l1_penalty,
    "l2_penalty": l2_penalty,
    "decoupled_decay": decoupled_decay,
    "gradient_accumulation": gradient_accumulation,
    "skip_nonfinite": skip_nonfinite,
    "weight_ema": weight_ema,
    "weight_swa": weight_swa,
    "lookahead": lookahead,
    "reduce_lr_on_plateau": reduce_lr_on_plateau,
    "early_stopping": early_stopping,
}
