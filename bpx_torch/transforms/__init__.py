"""What stands around an optimizer in PyTorch, by entry name: functions, wrappers, schedulers."""

from typing import Any

from bpx_torch.transforms.average import Lookahead, WeightEMA, WeightSWA
from bpx_torch.transforms.clip import (
    adaptive_grad_clip_,
    clip_by_global_norm_,
    clip_by_norm_,
    clip_by_value_,
)
from bpx_torch.transforms.metric import EarlyStopping, ReduceLROnPlateau
from bpx_torch.transforms.penalty import DecoupledDecay, l1_penalty_, l2_penalty_
from bpx_torch.transforms.window import GradientAccumulation, SkipNonfinite

TRANSFORMS: dict[str, Any] = {
    "clip_by_value": clip_by_value_,
    "clip_by_norm": clip_by_norm_,
    "clip_by_global_norm": clip_by_global_norm_,
    "adaptive_grad_clip": adaptive_grad_clip_,
    "l1_penalty": l1_penalty_,
    "l2_penalty": l2_penalty_,
    "decoupled_decay": DecoupledDecay,
    "gradient_accumulation": GradientAccumulation,
    "skip_nonfinite": SkipNonfinite,
    "weight_ema": WeightEMA,
    "weight_swa": WeightSWA,
    "lookahead": Lookahead,
    "reduce_lr_on_plateau": ReduceLROnPlateau,
    "early_stopping": EarlyStopping,
}
