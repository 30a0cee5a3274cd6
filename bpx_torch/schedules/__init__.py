"""The schedules for PyTorch, by entry name."""

from typing import Any

from bpx_torch.schedules.compose import ChainedScheduler, SequentialLR
from bpx_torch.schedules.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from bpx_torch.schedules.cycle import CyclicLR, OneCycleLR
from bpx_torch.schedules.decay import ExponentialLR, MultiStepLR, StepLR
from bpx_torch.schedules.ramp import ConstantLR, LinearLR, PolynomialLR

SCHEDULES: dict[str, type[Any]] = {
    "step_lr": StepLR,
    "multi_step_lr": MultiStepLR,
    "exponential_lr": ExponentialLR,
    "constant_lr": ConstantLR,
    "linear_lr": LinearLR,
    "polynomial_lr": PolynomialLR,
    "cosine_annealing_lr": CosineAnnealingLR,
    "cosine_annealing_warm_restarts": CosineAnnealingWarmRestarts,
    "one_cycle_lr": OneCycleLR,
    "cyclic_lr": CyclicLR,
    "sequential_lr": SequentialLR,
    "chained_scheduler": ChainedScheduler,
}
