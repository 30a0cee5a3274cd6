"""Drop-in for torch.optim: the same names and signatures. `GAPS` says what is not here.

`lr_scheduler` and `swa_utils` stand in for torch.optim's modules of these names, `clip_grad` for
torch.nn.utils.clip_grad. Beside torch's: LAMB, LARS, Lion, Shampoo, SGDScheduleFree and
AdamWScheduleFree; BFGS, Newton, GaussNewton and LevenbergMarquardt, for small problems; and
wrappers, which hold any torch.optim.Optimizer.
"""

from bpx_torch.optim import clip_grad, lr_scheduler, swa_utils
from bpx_torch.optimizers.adadelta import Adadelta
from bpx_torch.optimizers.adafactor import Adafactor
from bpx_torch.optimizers.adagrad import Adagrad
from bpx_torch.optimizers.adam import Adam
from bpx_torch.optimizers.adamax import Adamax
from bpx_torch.optimizers.adamw import AdamW
from bpx_torch.optimizers.lamb import LAMB
from bpx_torch.optimizers.lars import LARS
from bpx_torch.optimizers.lion import Lion
from bpx_torch.optimizers.muon import Muon
from bpx_torch.optimizers.nadam import NAdam
from bpx_torch.optimizers.radam import RAdam
from bpx_torch.optimizers.rmsprop import RMSprop
from bpx_torch.optimizers.rprop import Rprop
from bpx_torch.optimizers.schedule_free_adamw import AdamWScheduleFree
from bpx_torch.optimizers.schedule_free_sgd import SGDScheduleFree
from bpx_torch.optimizers.sgd import SGD
from bpx_torch.optimizers.shampoo import Shampoo
from bpx_torch.solvers.bfgs import BFGS
from bpx_torch.solvers.gauss_newton import GaussNewton
from bpx_torch.solvers.lbfgs import LBFGS
from bpx_torch.solvers.levenberg_marquardt import LevenbergMarquardt
from bpx_torch.solvers.newton import Newton
from bpx_torch.transforms.average import Lookahead, WeightEMA, WeightSWA
from bpx_torch.transforms.metric import EarlyStopping
from bpx_torch.transforms.penalty import DecoupledDecay
from bpx_torch.transforms.window import GradientAccumulation, SkipNonfinite

__all__ = [
    "BFGS",
    "LAMB",
    "LARS",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdamWScheduleFree",
    "Adamax",
    "DecoupledDecay",
    "EarlyStopping",
    "GaussNewton",
    "GradientAccumulation",
    "LevenbergMarquardt",
    "Lion",
    "Lookahead",
    "Muon",
    "NAdam",
    "Newton",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGDScheduleFree",
    "Shampoo",
    "SkipNonfinite",
    "WeightEMA",
    "WeightSWA",
    "clip_grad",
    "lr_scheduler",
    "swa_utils",
]

_LATER = "no entry in bpx.optimizers yet"
_TORCH = "works unchanged with these optimizers, import it from torch.optim"

GAPS: dict[str, str] = {
    "ASGD": _LATER,
    "SparseAdam": "sparse gradients are refused by every optimizer here",
    "Optimizer": "the base class is torch's own",
    "swap_in_optimizer_params_and_state": _TORCH,
}
