"""A torch optimizer as a stepper for the kit, and what only torch's optimizers have."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from bpx.verify.candidate.plan import Check


def _leaves(params: list[Any]) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.from_numpy(np.array(p))) for p in params]


def _step(optimizer: Any, leaves: list[Any], gs: list[Any]) -> list[Any]:
    for p, g in zip(leaves, gs, strict=True):
        p.grad = None if g is None else torch.from_numpy(np.array(g))
    optimizer.step()
    return [p.detach().numpy().copy() for p in leaves]


def stepper(make: Any, params: list[Any]) -> Any:
    leaves = _leaves(params)
    return partial(_step, make(leaves), leaves)


def checks(make: Any, params: list[Any], path: list[Any]) -> list[Check]:
    return [
        Check("purity", "gradients", partial(untouched, make, params, path)),
        Check("repeat", "state_dict round trip", partial(resumed, make, params, path)),
        Check("layout", "parameters transposed", partial(transposed, make, params, path)),
    ]


def untouched(make: Any, params: list[Any], path: list[Any]) -> Iterator[dict[str, Any]]:
    """step() leaves .grad as it was."""
    leaves = _leaves(params)
    optimizer = make(leaves)
    for t, gs in enumerate(path[:4], 1):
        _step(optimizer, leaves, gs)
        for i, (p, g) in enumerate(zip(leaves, gs, strict=True)):
            same = p.grad is not None and np.array_equal(p.grad.numpy(), g)
            message = "" if same else f"is written to at step {t}"
            yield {"what": f"gradient {i}", "message": message}


def resumed(make: Any, params: list[Any], path: list[Any]) -> Iterator[dict[str, Any]]:
    """Half the way, a new optimizer from the state_dict, the other half: the same parameters."""
    leaves = _leaves(params)
    optimizer = make(leaves)
    for gs in path[:7]:
        _step(optimizer, leaves, gs)
    others = _leaves([p.detach().numpy() for p in leaves])
    other = make(others)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gs in path[7:]:
        want, got = _step(optimizer, leaves, gs), _step(other, others, gs)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        message = "" if np.array_equal(g, w) else "differs after a round trip of the state"
        yield {"what": f"parameter {i}", "message": message}


def transposed(make: Any, params: list[Any], path: list[Any]) -> Iterator[dict[str, Any]]:
    """Parameters that are not contiguous."""
    plain = _leaves(params)
    turned = [
        torch.nn.Parameter(p.detach().t().contiguous().t() if p.dim() == 2 else p.detach().clone())
        for p in plain
    ]
    first, second = make(plain), make(turned)
    for gs in path[:5]:
        want, got = _step(first, plain, gs), _step(second, turned, gs)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        off = float(np.abs(g - w).max(initial=0.0))
        scale = float(np.abs(w).max(initial=0.0)) or 1.0
        yield {"what": f"parameter {i}", "ratio": off / (1e-13 * scale)}
