"""JAX's own algebraic activations, and shrinkage by its formulas; merged in oracles.py."""

import jax
import jax.numpy as jnp


def _softshrink(x, *, lambd=0.5):
    return jnp.where(jnp.abs(x) > lambd, x - jnp.sign(x) * lambd, jnp.zeros_like(x))


def _threshold(x, *, threshold=0.0, value=0.0):
    return jnp.where(x > threshold, x, jnp.full_like(x, value))


def _squareplus(x, *, b=4.0):
    return jax.nn.squareplus(x, b)


ORACLES = {
    "softshrink": _softshrink,
    "tanhshrink": lambda x: x - jnp.tanh(x),
    "threshold": _threshold,
    "sparse_plus": jax.nn.sparse_plus,
    "sparse_sigmoid": jax.nn.sparse_sigmoid,
    "squareplus": _squareplus,
}

_CANCELS = "value: the difference loses the digits of y near 0"
_TAIL = "value: the sum loses the digits of y in the lower tail"

DIFFERS: dict[str, dict[str, str]] = {
    "tanhshrink": {case: _CANCELS for case in ("2d", "wide", "scalar", "tails")},
    "squareplus": {case: _TAIL for case in ("2d", "wide", "scalar", "tails", "loud b")},
}
