"""Drop-in for torch.optim.lr_scheduler: the same names and signatures. `GAPS` has the rest.

The classes are subclasses of torch's, so a state_dict goes both ways and torch's own schedulers,
optimizers and trainers take them.
"""

from bpx_torch.schedules.compose import ChainedScheduler, SequentialLR
from bpx_torch.schedules.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from bpx_torch.schedules.cycle import CyclicLR, OneCycleLR
from bpx_torch.schedules.decay import ExponentialLR, MultiStepLR, StepLR
from bpx_torch.schedules.ramp import ConstantLR, LinearLR, PolynomialLR
from bpx_torch.transforms.metric import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

_CALLER = "the numbers are the caller's function's, import it from torch.optim.lr_scheduler"

GAPS: dict[str, str] = {
    "LRScheduler": "the base class is torch's own",
    "LambdaLR": _CALLER,
    "MultiplicativeLR": _CALLER,
}
