"""What the solvers share: a pytree as one vector, the checks of its leaves, the result."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.solvers import OUTCOMES
from bpx.solvers._result import check
from bpx.spec import Options, require

CONVERGED, SMALL_CHANGE, SEARCH_FAILED, MAX_ITER, MAX_EVAL, NON_FINITE = range(len(OUTCOMES))
GOING = -1
UNLIMITED = jnp.iinfo(jnp.int32).max


class Result(NamedTuple):
    """As `bpx.solvers.Result`, a pytree: `params` in place of x, scalars as arrays, and `code`, an
    int32 index into OUTCOMES."""

    params: Any
    value: jax.Array
    gradient: jax.Array
    iterations: jax.Array
    evaluations: jax.Array
    matrices: jax.Array
    code: jax.Array

    @property
    def outcome(self) -> str:
        """One of OUTCOMES; raises inside jit, where it is not known."""
        return OUTCOMES[int(self.code)]

    @property
    def converged(self) -> jax.Array:
        """Whether the outcome is "converged", inside jit too."""
        return self.code == CONVERGED


def flatten(entry: str, params: Any, options: Options) -> tuple[jax.Array, Any]:
    """One vector in the widest dtype of the leaves, float32 at least, and the way back."""
    check(entry, options)
    leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, params))
    for leaf in leaves:
        require(
            jnp.issubdtype(leaf.dtype, jnp.floating),
            f"{entry}: a leaf has dtype {leaf.dtype}, expected a real floating one",
        )
    wide = jnp.float64 if any(leaf.dtype == jnp.float64 for leaf in leaves) else jnp.float32
    parts = [jnp.zeros(0, wide), *(leaf.astype(wide).reshape(-1) for leaf in leaves)]
    ends = list(itertools.accumulate(leaf.size for leaf in leaves))

    def back(x: jax.Array) -> Any:
        cut = zip(leaves, jnp.split(x, ends[:-1]) if leaves else (), strict=True)
        return tree.unflatten([part.reshape(a.shape).astype(a.dtype) for a, part in cut])

    return jnp.concatenate(parts), back


def scalar_of(entry: str, value: Any) -> Any:
    """What the function returned, once it is seen to be a real scalar."""
    value = jnp.asarray(value)
    require(
        value.shape == () and jnp.issubdtype(value.dtype, jnp.floating),
        f"{entry}: the function gives {value.dtype} {value.shape}, expected a floating scalar",
    )
    return value


def largest(x: jax.Array) -> jax.Array:
    return jnp.abs(x).max(initial=0)


def most(max_eval: int | None) -> int:
    return int(UNLIMITED) if max_eval is None else max_eval
