"""JAX's own glu, and the other gated units from its activations; merged in oracles.py."""

import jax
import jax.numpy as jnp


def _geglu(x, gate, *, approximate="none"):
    return x * jax.nn.gelu(gate, approximate=approximate == "tanh")


ORACLES = {
    "glu": lambda x, gate: jax.nn.glu(jnp.stack([x, gate]), 0)[0],
    "swiglu": lambda x, gate: x * jax.nn.silu(gate),
    "geglu": _geglu,
    "reglu": lambda x, gate: x * jax.nn.relu(gate),
}

_ROUNDED = "1 - sigmoid loses its digits where the sigmoid rounds towards 1"

DIFFERS: dict[str, dict[str, str]] = {"glu": {"wide": _ROUNDED, "tails": _ROUNDED}}
