"""bpx for JAX: a rule for every entry of the specification, by entry name.

`nn`, `losses`, `optim`, `schedules`, `transforms` and `initializers` offer them under the names of
jax.nn and optax. Maths, shapes and sources are in `bpx`. `fixed_point` and `reversible`
differentiate functions of the caller's without keeping what these compute on the way. `lsuv` and
`mup` start a model by a batch, and by its width. `interchange` carries weights and optimizer states
to torch and back. `health` looks at a function while it trains.
"""

from bpx_jax import (
    activations,
    fused,
    health,
    initializers,
    interchange,
    layers,
    losses,
    nn,
    optim,
    schedules,
    surrogate,
    transforms,
)
from bpx_jax._fixed_point import fixed_point
from bpx_jax._lsuv import lsuv
from bpx_jax._mup import Mup, mup, mup_init, scale_by_mup
from bpx_jax._reversible import reversible, reversible_sequence
from bpx_jax._rule import Rule
from bpx_jax.initializers import INITIALIZERS
from bpx_jax.optimizers import OPTIMIZERS
from bpx_jax.schedules import SCHEDULES
from bpx_jax.transforms import TRANSFORMS

RULES: dict[str, Rule] = {
    **activations.RULES,
    **layers.RULES,
    **losses.RULES,
    **fused.RULES,
    **surrogate.RULES,
}

__all__ = [
    "INITIALIZERS",
    "OPTIMIZERS",
    "RULES",
    "SCHEDULES",
    "TRANSFORMS",
    "Mup",
    "fixed_point",
    "health",
    "initializers",
    "interchange",
    "losses",
    "lsuv",
    "mup",
    "mup_init",
    "nn",
    "optim",
    "reversible",
    "reversible_sequence",
    "scale_by_mup",
    "schedules",
    "surrogate",
    "transforms",
]
