"""The optimizers for PyTorch, by entry name."""

from bpx_torch._optimizer import SpecOptimizer
from bpx_torch.optimizers.adafactor import Adafactor
from bpx_torch.optimizers.adagrad import Adagrad
from bpx_torch.optimizers.adam import Adam
from bpx_torch.optimizers.adamw import AdamW
from bpx_torch.optimizers.lamb import LAMB
from bpx_torch.optimizers.lars import LARS
from bpx_torch.optimizers.muon import Muon
from bpx_torch.optimizers.rmsprop import RMSprop
from bpx_torch.optimizers.sgd import SGD

OPTIMIZERS: dict[str, type[SpecOptimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
    "lars": LARS,
    "lamb": LAMB,
    "adafactor": Adafactor,
    "muon": Muon,
}
