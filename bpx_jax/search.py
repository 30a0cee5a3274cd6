"""Search without a gradient for JAX: the methods of bpx.search on pytrees.

    found = run(Annealing(2000, temperature=5.0), f, params, key)

The numbers are drawn and the decisions taken in bpx.search, so that a key gives the trajectory that
it gives in NumPy and in PyTorch, as far as f gives the same values. Jit f; the search itself is a
loop in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bpx.search import COOLINGS, Annealing, Found, LocalSearch, Method, RandomSearch, State
from bpx.spec import require
from bpx_jax.random import key_data

__all__ = [
    "COOLINGS",
    "Annealing",
    "Found",
    "LocalSearch",
    "Method",
    "RandomSearch",
    "State",
    "run",
]


def run(
    method: Method,
    f: Callable[[Any], Any],
    params: Any,
    key: Any,
    *,
    state: State | None = None,
    pause: int = 0,
) -> Found:
    """Search from params for a low value of f.

    Args:
        method: with its options, such as `Annealing(2000)`.
        f: pytree -> a number, or an array of one element.
        params: a pytree of real floating arrays.
        key: a typed Threefry key, its uint32 (2,) data, or a seed.
        state, pause: as in `bpx.search.Method.run`.

    Returns:
        As `bpx.search`; `params` is a pytree of JAX arrays of the dtypes given.

    Raises:
        SpecError: another leaf; as `bpx.search`.
    """
    leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, params))
    for leaf in leaves:
        require(
            jnp.issubdtype(leaf.dtype, jnp.floating),
            f"search: a leaf is {leaf.dtype}, expected a real floating array",
        )

    def pytree(arrays: list[Any]) -> Any:
        pairs = zip(arrays, leaves, strict=True)
        # through NumPy: float64 is not one of JAX's types unless it is switched on
        return tree.unflatten([jnp.asarray(a.astype(leaf.dtype)) for a, leaf in pairs])

    start = [np.asarray(leaf).astype(np.float64) for leaf in leaves]
    words = np.asarray(key_data(key))
    found = method.run(lambda a: f(pytree(a)), start, words, state=state, pause=pause)
    return replace(found, params=pytree(found.params))
