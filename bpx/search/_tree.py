"""Nested dicts, lists and tuples of arrays as one float64 vector, and back.

Dicts are read in the order of their sorted keys, as JAX reads them; None is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.spec import require

Array = NDArray[Any]


def leaves(tree: Any, path: str = "params") -> Iterator[tuple[str, Any]]:
    """Every leaf, with where it is."""
    if isinstance(tree, dict):
        for key in sorted(tree):
            yield from leaves(tree[key], f"{path}[{key!r}]")
    elif isinstance(tree, (list, tuple)):
        for i, part in enumerate(tree):
            yield from leaves(part, f"{path}[{i}]")
    elif tree is not None:
        yield path, tree


def flatten(params: Any) -> tuple[Array, Callable[[Array], Any]]:
    """The vector, and a function from a vector to new parameters: rounded to each leaf's dtype."""
    arrays = []
    for path, leaf in leaves(params):
        a = np.asarray(leaf)
        require(
            np.issubdtype(a.dtype, np.floating),
            f"search: {path} has dtype {a.dtype}, expected a real floating one",
        )
        arrays.append(a)
    flat = np.concatenate([np.zeros(0), *(a.reshape(-1).astype(np.float64) for a in arrays)])

    def unflatten(x: Array) -> Any:
        parts, at = [], 0
        for a in arrays:
            with np.errstate(over="ignore"):
                parts.append(x[at : at + a.size].reshape(a.shape).astype(a.dtype))
            at += a.size
        return _rebuilt(params, iter(parts))

    return flat, unflatten


def _rebuilt(tree: Any, parts: Iterator[Array]) -> Any:
    if isinstance(tree, dict):
        new = {key: _rebuilt(tree[key], parts) for key in sorted(tree)}
        return {key: new[key] for key in tree}
    if isinstance(tree, (list, tuple)):
        items = [_rebuilt(part, parts) for part in tree]
        if hasattr(tree, "_fields"):  # a named tuple
            return type(tree)(*items)
        return type(tree)(items)
    return None if tree is None else next(parts)
