"""The optimizers for PyTorch, by entry name."""

from bpx_torch._optimizer import SpecOptimizer
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

OPTIMIZERS: dict[str, type[SpecOptimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "rmsprop": RMSprop,
    "rprop": Rprop,
    "adam": Adam,
    "adamw": AdamW,
    "adamax": Adamax,
    "nadam": NAdam,
    "radam": RAdam,
    "lion": Lion,
    "lars": LARS,
    "lamb": LAMB,
    "adafactor": Adafactor,
    "muon": Muon,
    "schedule_free_sgd": SGDScheduleFree,
    "schedule_free_adamw": AdamWScheduleFree,
    "shampoo": Shampoo,
}
