"""The optimizers: `init(p)` and `step(p, g, state, t)` of one parameter, in NumPy."""

from bpx.optimizers.adadelta import SPEC as _adadelta
from bpx.optimizers.adafactor import SPEC as _adafactor
from bpx.optimizers.adagrad import SPEC as _adagrad
from bpx.optimizers.adam import SPEC as _adam
from bpx.optimizers.adamax import SPEC as _adamax
from bpx.optimizers.adamw import SPEC as _adamw
from bpx.optimizers.lamb import SPEC as _lamb
from bpx.optimizers.lars import SPEC as _lars
from bpx.optimizers.lion import SPEC as _lion
from bpx.optimizers.muon import SPEC as _muon
from bpx.optimizers.nadam import SPEC as _nadam
from bpx.optimizers.radam import SPEC as _radam
from bpx.optimizers.rmsprop import SPEC as _rmsprop
from bpx.optimizers.rprop import SPEC as _rprop
from bpx.optimizers.schedule_free_adamw import SPEC as _schedule_free_adamw
from bpx.optimizers.schedule_free_sgd import SPEC as _schedule_free_sgd
from bpx.optimizers.sgd import SPEC as _sgd
from bpx.optimizers.shampoo import SPEC as _shampoo
from bpx.spec import Optimizer

ALL: tuple[Optimizer, ...] = (
    _sgd,
    _adagrad,
    _adadelta,
    _rmsprop,
    _rprop,
    _adam,
    _adamw,
    _adamax,
    _nadam,
    _radam,
    _lion,
    _lars,
    _lamb,
    _adafactor,
    _muon,
    _schedule_free_sgd,
    _schedule_free_adamw,
    _shampoo,
)
