"""The loss rules for PyTorch, by entry name."""

from bpx_torch.losses.binary_cross_entropy import RULE as BINARY_CROSS_ENTROPY
from bpx_torch.losses.binary_cross_entropy_with_logits import (
    RULE as BINARY_CROSS_ENTROPY_WITH_LOGITS,
)
from bpx_torch.losses.cross_entropy import RULE as CROSS_ENTROPY
from bpx_torch.losses.huber import RULE as HUBER
from bpx_torch.losses.l1 import RULE as L1
from bpx_torch.losses.mse import RULE as MSE
from bpx_torch.losses.smooth_l1 import RULE as SMOOTH_L1
from bpx_torch.losses.soft_cross_entropy import RULE as SOFT_CROSS_ENTROPY

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
