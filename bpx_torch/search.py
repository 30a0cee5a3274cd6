"""Search without a gradient for PyTorch: the methods of bpx.search on tensors and on modules.

    found = run(Annealing(2000, temperature=5.0), f, model, key)

The numbers are drawn and the decisions taken in bpx.search, so that a key gives the trajectory that
it gives in NumPy and in JAX, as far as f gives the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bpx.search import COOLINGS, Annealing, Found, LocalSearch, Method, RandomSearch, State
from bpx.spec import require

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


@torch.no_grad()
def run(
    method: Method,
    f: Callable[..., Any],
    params: Any,
    key: Any,
    *,
    state: State | None = None,
    pause: int = 0,
) -> Found:
    """Search from the parameters as they are for a low value of f.

    Args:
        method: with its options, such as `Annealing(2000)`.
        f: of a module, nothing -> a number (or a tensor of one element), at the module's
            parameters as they are; of tensors, params -> a number.
        params: a module, of which every parameter that requires a gradient is searched, and which
            holds the best ones at the end; or tensors in nested dicts, lists and tuples.
        key: of bpx.random, a uint32 tensor of shape (2,), or a seed.
        state, pause: as in `bpx.search.Method.run`.

    Returns:
        As `bpx.search`; `params` is the module, or new tensors of the dtypes and on the devices
        given.

    Raises:
        SpecError: a leaf that is no real floating tensor; as `bpx.search`.
    """
    key = key.cpu().numpy() if isinstance(key, Tensor) else key
    if isinstance(params, torch.nn.Module):
        own = {k: p for k, p in params.named_parameters() if p.requires_grad}

        def put(arrays: dict[str, Any]) -> None:
            for k, p in own.items():
                p.copy_(torch.from_numpy(arrays[k]))

        def at(arrays: dict[str, Any]) -> Any:
            put(arrays)
            return f()

        start = {k: _array(p, k) for k, p in own.items()}
        try:
            found = method.run(at, start, key, state=state, pause=pause)
        except BaseException:
            put(start)
            raise
        put(found.params)
        return replace(found, params=params)

    def tensors(arrays: Any) -> Any:
        return _mapped(lambda t, a: torch.from_numpy(a).to(t.device, t.dtype), params, arrays)

    start = _mapped(lambda t: _array(t, "a leaf"), params)
    found = method.run(lambda arrays: f(tensors(arrays)), start, key, state=state, pause=pause)
    return replace(found, params=tensors(found.params))


def _array(t: Any, name: str) -> Any:
    require(
        isinstance(t, Tensor) and t.is_floating_point(),
        f"search: {name} is {getattr(t, 'dtype', type(t).__name__)}, expected a real floating "
        "tensor",
    )
    # a copy, in the dtype of the search: every smaller dtype fits in it
    return t.detach().double().cpu().numpy().copy()


def _mapped(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """f over the leaves of trees of one structure."""
    if isinstance(tree, dict):
        return {k: _mapped(f, v, *(o[k] for o in others)) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [_mapped(f, *parts) for parts in zip(tree, *others, strict=True)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return None if tree is None else f(tree, *others)
