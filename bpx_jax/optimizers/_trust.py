"""The layer-wise ratio that lars and lamb share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bpx.spec import Optimizer, SpecError


def require_params(spec: Optimizer, params: Any) -> None:
    if params is None:
        raise SpecError(
            f"{spec.name}: params is None, expected the parameters (the trust ratio needs them)"
        )


def norm(x: Any) -> Any:
    return jnp.sqrt(jnp.sum(x * x))


def anew(*arrays: Any) -> Any:
    """The same arrays, as others to XLA: what a norm is of would be kept in memory for the step,
    which takes longer than to compute it once more."""
    return jax.lax.optimization_barrier(arrays)


def trust(size: Any, below: Any, coefficient: Any = 1.0, eps: Any = 0.0) -> Any:
    """coefficient * size / (below + eps), and 1 where size or below is 0."""
    safe = (size > 0) & (below > 0)
    ratio = coefficient * size / jnp.where(safe, below + eps, jnp.ones_like(below))
    return jnp.where(safe, ratio, jnp.ones_like(ratio))


def which(mask: Any, tree: Any) -> Any:
    """A tree of bools from a mask: a bool, a prefix of the tree, or a function of the tree."""
    mask = mask(tree) if callable(mask) else mask
    return jax.tree.map(lambda m, part: jax.tree.map(lambda _: bool(m), part), mask, tree)
