"""What stands around an optimizer: clipping, penalties, windows, averages, metrics."""

from bpx.training import Transform
from bpx.transforms.average import EMA, LOOKAHEAD, SWA
from bpx.transforms.clip import ADAPTIVE, BY_GLOBAL_NORM, BY_NORM, BY_VALUE
from bpx.transforms.metric import EARLY_STOPPING, PLATEAU
from bpx.transforms.penalty import DECAY, L1, L2
from bpx.transforms.window import ACCUMULATION, SKIP

ALL: tuple[Transform, ...] = (
    BY_VALUE,
    BY_NORM,
    BY_GLOBAL_NORM,
    ADAPTIVE,
    L1,
    L2,
    DECAY,
    ACCUMULATION,
    SKIP,
    EMA,
    SWA,
    LOOKAHEAD,
    PLATEAU,
    EARLY_STOPPING,
)
