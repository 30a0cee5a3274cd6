"""The parameters of a step as rows, and by which of the ways they are stepped."""

from __future__ import annotations

from collections import defaultdict
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor

Group = dict[str, Any]
State = dict[str, Tensor]


class Rows(NamedTuple):
    """What a step works on, an entry for each parameter."""

    ps: list[Tensor]
    gs: list[Tensor]
    states: list[State]


def states_of(state: dict[Any, Any], params: list[Tensor]) -> list[State]:
    """The state of each. Where the parameters are the keys in order none is looked up, since the
    hash of a Tensor is a function in Python."""
    if len(state) == len(params) and all(map(is_, state, params)):
        return [*state.values()]
    return [state[p] for p in params]


def on_tensors(group: Group) -> bool:
    """Whether numbers that a step computes with are tensors, not to be read."""
    numbers = (group["lr"], group.get("weight_decay"), *group.get("betas", ()))
    return any(isinstance(x, Tensor) for x in numbers)


def by_list(group: Group, params: list[Tensor]) -> bool:
    """Whether a group is stepped by functions on lists."""
    if group.get("differentiable") or on_tensors(group):
        return False
    if group["foreach"] is not None:
        return bool(group["foreach"])
    plain = (Tensor, torch.nn.Parameter)  # one launch for many tensors pays on a GPU only
    return all(p.device.type == "cuda" and type(p) in plain for p in params)


def alike(rows: Rows) -> list[Rows]:
    """The rows by device and dtypes, as the functions on lists want them."""
    kinds = [(p.device, p.dtype, g.dtype) for p, g in zip(rows.ps, rows.gs, strict=True)]
    if len(set(kinds)) == 1:
        return [rows]
    parts: dict[Any, Rows] = defaultdict(lambda: Rows([], [], []))
    for kind, *row in zip(kinds, *rows, strict=True):
        for column, value in zip(parts[kind], row, strict=True):
            column.append(value)
    return list(parts.values())
