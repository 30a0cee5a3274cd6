"""Drop-in for torch.nn.utils.clip_grad: the same names and signatures. `GAPS` has the rest.

Gradients change in place. `adaptive_grad_clip_`, `clip_by_norm_` and the penalties are in addition.
"""

from bpx_torch.transforms.clip import (
    adaptive_grad_clip_,
    clip_by_global_norm_,
    clip_by_norm_,
    clip_by_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from bpx_torch.transforms.penalty import l1_penalty_, l2_penalty_

clip_grad_norm_ = clip_by_global_norm_
clip_grad_value_ = clip_by_value_

__all__ = [
    "adaptive_grad_clip_",
    "clip_by_norm_",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "l1_penalty_",
    "l2_penalty_",
]

GAPS: dict[str, str] = {"clip_grad_norm": "deprecated in torch, use clip_grad_norm_"}
