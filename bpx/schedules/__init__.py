"""The schedules: `value(t, base)`, a pure function of the steps taken, in Python floats."""

from bpx.schedules.compose import CHAINED, SEQUENTIAL
from bpx.schedules.cosine import ANNEALING, RESTARTS
from bpx.schedules.cycle import CYCLIC, ONE_CYCLE
from bpx.schedules.decay import EXPONENTIAL, MULTI_STEP, STEP
from bpx.schedules.ramp import CONSTANT, LINEAR, POLYNOMIAL
from bpx.training import Schedule

ALL: tuple[Schedule, ...] = (
    STEP,
    MULTI_STEP,
    EXPONENTIAL,
    CONSTANT,
    LINEAR,
    POLYNOMIAL,
    ANNEALING,
    RESTARTS,
    ONE_CYCLE,
    CYCLIC,
    SEQUENTIAL,
    CHAINED,
)
