"""The optimizers for JAX, by entry name."""

from collections.abc import Callable

from bpx_jax._transform import GradientTransformation
from bpx_jax.optimizers.adadelta import adadelta
from bpx_jax.optimizers.adafactor import adafactor
from bpx_jax.optimizers.adagrad import adagrad
from bpx_jax.optimizers.adam import adam
from bpx_jax.optimizers.adamax import adamax
from bpx_jax.optimizers.adamw import adamw
from bpx_jax.optimizers.lamb import lamb
from bpx_jax.optimizers.lars import lars
from bpx_jax.optimizers.lion import lion
from bpx_jax.optimizers.muon import muon
from bpx_jax.optimizers.nadam import scheduled_nadam
from bpx_jax.optimizers.radam import radam
from bpx_jax.optimizers.rmsprop import rmsprop
from bpx_jax.optimizers.rprop import rprop
from bpx_jax.optimizers.schedule_free_adamw import schedule_free_adamw
from bpx_jax.optimizers.schedule_free_sgd import schedule_free_sgd
from bpx_jax.optimizers.sgd import sgd
from bpx_jax.optimizers.shampoo import shampoo

OPTIMIZERS: dict[str, Callable[..., GradientTransformation]] = {
    "sgd": sgd,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "rmsprop": rmsprop,
    "rprop": rprop,
    "adam": adam,
    "adamw": adamw,
    "adamax": adamax,
    "nadam": scheduled_nadam,
    "radam": radam,
    "lion": lion,
    "lars": lars,
    "lamb": lamb,
    "adafactor": adafactor,
    "muon": muon,
    "schedule_free_sgd": schedule_free_sgd,
    "schedule_free_adamw": schedule_free_adamw,
    "shampoo": shampoo,
}
