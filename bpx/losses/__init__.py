"""The losses of the specification, in the order of ALL."""

from bpx.losses.binary_cross_entropy import SPEC as BINARY_CROSS_ENTROPY
from bpx.losses.binary_cross_entropy_with_logits import SPEC as BINARY_CROSS_ENTROPY_WITH_LOGITS
from bpx.losses.cross_entropy import SPEC as CROSS_ENTROPY
from bpx.losses.huber import SPEC as HUBER
from bpx.losses.l1 import SPEC as L1
from bpx.losses.mse import SPEC as MSE
from bpx.losses.smooth_l1 import SPEC as SMOOTH_L1
from bpx.losses.soft_cross_entropy import SPEC as SOFT_CROSS_ENTROPY

ALL = (
    MSE,
    L1,
    HUBER,
    SMOOTH_L1,
    BINARY_CROSS_ENTROPY,
    BINARY_CROSS_ENTROPY_WITH_LOGITS,
    CROSS_ENTROPY,
    SOFT_CROSS_ENTROPY,
)
