"""The optimizers for JAX, by entry name."""

from collections.abc import Callable

from bpx_jax._transform import GradientTransformation
from bpx_jax.optimizers.adafactor import adafactor
from bpx_jax.optimizers.adagrad import adagrad
from bpx_jax.optimizers.adam import adam
from bpx_jax.optimizers.adamw import adamw
from bpx_jax.optimizers.lamb import lamb
from bpx_jax.optimizers.lars import lars
from bpx_jax.optimizers.muon import muon
from bpx_jax.optimizers.rmsprop import rmsprop
from bpx_jax.optimizers.sgd import sgd

OPTIMIZERS: dict[str, Callable[..., GradientTransformation]] = {
    "sgd": sgd,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "lars": lars,
    "lamb": lamb,
    "adafactor": adafactor,
    "muon": muon,
}
