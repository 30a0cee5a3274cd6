"""Drop-in for optax's optimizers: the same names, signatures and defaults, without optax.

What is returned works in optax.chain, masked, inject_hyperparams and MultiSteps. `rprop` moves at
once where optax's is a call late; `scheduled_nadam` is torch's NAdam, which optax lacks. State has
optax's dtypes; `accumulate_in_float32` keeps that of 16-bit parameters in float32.
`stepping` gives a transformation's whole step, parameters included, which many can do at once;
`pack` makes one vector of many small parameters, `unpack` the parameters and states again.
"""

import functools

from bpx_jax._packed import pack as pack
from bpx_jax._packed import unpack as unpack
from bpx_jax._transform import stepping as stepping
from bpx_jax.optimizers._schedule_free import (
    schedule_free_eval_params as schedule_free_eval_params,
)
from bpx_jax.optimizers._wide import accumulate_in_float32 as accumulate_in_float32
from bpx_jax.optimizers.adadelta import adadelta
from bpx_jax.optimizers.adafactor import adafactor
from bpx_jax.optimizers.adagrad import adagrad
from bpx_jax.optimizers.adam import adam, amsgrad
from bpx_jax.optimizers.adamax import adamax, adamaxw
from bpx_jax.optimizers.adamw import adamw
from bpx_jax.optimizers.lamb import lamb
from bpx_jax.optimizers.lars import lars
from bpx_jax.optimizers.lion import lion, sign_sgd
from bpx_jax.optimizers.muon import MuonDimensionNumbers as MuonDimensionNumbers
from bpx_jax.optimizers.muon import muon
from bpx_jax.optimizers.nadam import scheduled_nadam
from bpx_jax.optimizers.radam import radam
from bpx_jax.optimizers.rmsprop import rmsprop
from bpx_jax.optimizers.rprop import rprop
from bpx_jax.optimizers.schedule_free_adamw import schedule_free_adamw
from bpx_jax.optimizers.schedule_free_sgd import schedule_free_sgd
from bpx_jax.optimizers.sgd import sgd
from bpx_jax.optimizers.shampoo import shampoo

nadam = functools.partial(adam, nesterov=True)
nadamw = functools.partial(adamw, nesterov=True)

__all__ = [
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "amsgrad",
    "lamb",
    "lars",
    "lion",
    "muon",
    "nadam",
    "nadamw",
    "radam",
    "rmsprop",
    "rprop",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "scheduled_nadam",
    "sgd",
    "shampoo",
    "sign_sgd",
]
