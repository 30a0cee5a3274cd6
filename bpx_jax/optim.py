"""Drop-in for optax's optimizers: the same names, signatures and defaults, without optax.

What is returned works in optax.chain, masked, inject_hyperparams and MultiSteps.
"""

import functools

from bpx_jax.optimizers.adafactor import adafactor
from bpx_jax.optimizers.adagrad import adagrad
from bpx_jax.optimizers.adam import adam, amsgrad
from bpx_jax.optimizers.adamw import adamw
from bpx_jax.optimizers.lamb import lamb
from bpx_jax.optimizers.lars import lars
from bpx_jax.optimizers.muon import MuonDimensionNumbers as MuonDimensionNumbers
from bpx_jax.optimizers.muon import muon
from bpx_jax.optimizers.rmsprop import rmsprop
from bpx_jax.optimizers.sgd import sgd

nadam = functools.partial(adam, nesterov=True)
nadamw = functools.partial(adamw, nesterov=True)

__all__ = [
    "adafactor",
    "adagrad",
    "adam",
    "adamw",
    "amsgrad",
    "lamb",
    "lars",
    "muon",
    "nadam",
    "nadamw",
    "rmsprop",
    "sgd",
]
