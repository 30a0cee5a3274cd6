"""The optimizers: `init(p)` and `step(p, g, state, t)` of one parameter, in NumPy."""

from bpx.optimizers.adafactor import SPEC as _adafactor
from bpx.optimizers.adagrad import SPEC as _adagrad
from bpx.optimizers.adam import SPEC as _adam
from bpx.optimizers.adamw import SPEC as _adamw
from bpx.optimizers.lamb import SPEC as _lamb
from bpx.optimizers.lars import SPEC as _lars
from bpx.optimizers.muon import SPEC as _muon
from bpx.optimizers.rmsprop import SPEC as _rmsprop
from bpx.optimizers.sgd import SPEC as _sgd
from bpx.spec import Optimizer

ALL: tuple[Optimizer, ...] = (
    _sgd,
    _adagrad,
    _rmsprop,
    _adam,
    _adamw,
    _lars,
    _lamb,
    _adafactor,
    _muon,
)
