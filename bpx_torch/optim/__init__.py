"""Drop-in for torch.optim: the same names and signatures. `GAPS` says what is not here.

`lr_scheduler` stands in for torch.optim.lr_scheduler.
"""

from bpx_torch.optim import lr_scheduler
from bpx_torch.optimizers.adagrad import Adagrad
from bpx_torch.optimizers.adam import Adam
from bpx_torch.optimizers.adamw import AdamW
from bpx_torch.optimizers.rmsprop import RMSprop
from bpx_torch.optimizers.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RMSprop", "lr_scheduler"]

_LATER = "no entry in bpx.optimizers yet"
_TORCH = "works unchanged with these optimizers, import it from torch.optim"

GAPS: dict[str, str] = {
    "ASGD": _LATER,
    "Adadelta": _LATER,
    "Adafactor": _LATER,
    "Adamax": _LATER,
    "LBFGS": "needs a closure and a line search, it is not a step per parameter",
    "Muon": _LATER,
    "NAdam": _LATER,
    "RAdam": _LATER,
    "Rprop": _LATER,
    "SparseAdam": "sparse gradients are refused by every optimizer here",
    "Optimizer": "the base class is torch's own",
    "swa_utils": _TORCH,
    "swap_in_optimizer_params_and_state": _TORCH,
}
