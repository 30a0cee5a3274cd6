"""bpx for JAX: a rule for every entry of the specification, by entry name.

`nn`, `losses`, `optim` and `initializers` offer them under the names of jax.nn and optax. Maths,
shapes and sources are in `bpx`.
"""

from bpx_jax import activations, initializers, layers, losses, nn, optim
from bpx_jax._rule import Rule
from bpx_jax.initializers import INITIALIZERS
from bpx_jax.optimizers import OPTIMIZERS

RULES: dict[str, Rule] = {**activations.RULES, **layers.RULES, **losses.RULES}

__all__ = ["INITIALIZERS", "OPTIMIZERS", "RULES", "initializers", "losses", "nn", "optim"]
