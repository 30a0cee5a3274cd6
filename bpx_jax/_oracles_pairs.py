"""Functions of two inputs by their usual formulation in JAX; merged in oracles.py."""

import jax.numpy as jnp


def _bilinear(x1, x2, weight, bias=None):
    y = jnp.einsum("...i,oij,...j->...o", x1, weight, x2)
    return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)


def _direction(x, eps):
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), eps)


def _cosine_similarity(x1, x2, *, eps=1e-8):
    return (_direction(x1, eps) * _direction(x2, eps)).sum(-1)


ORACLES = {"bilinear": _bilinear, "cosine_similarity": _cosine_similarity}

_ROOT = "the derivative of the root is NaN at a length of 0"

DIFFERS: dict[str, dict[str, str]] = {"cosine_similarity": {"zero row": _ROOT}}
