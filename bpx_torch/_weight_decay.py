"""The two places of weight decay: in the gradient, or on the parameter before the step."""

from __future__ import annotations

import torch
from torch import Tensor

from bpx_torch._rows import Group
from bpx_torch._scalars import add_scaled, nonzero, number


def decay_one(p: Tensor, g: Tensor, group: Group) -> Tensor:
    """The gradient to step by, g or g + weight_decay * p; the decoupled decay moves p in place."""
    decay = group["weight_decay"]
    if not nonzero(decay):
        return g
    decay = number(decay)
    if group.get("decoupled_weight_decay"):
        p.mul_(1 - number(group["lr"]) * decay)
        return g
    return add_scaled(g, p, decay)


def decay_many(ps: list[Tensor], gs: list[Tensor], group: Group) -> list[Tensor]:
    """The same of lists, where rate and decay are Python numbers."""
    decay = group["weight_decay"]
    if decay == 0:
        return gs
    if group.get("decoupled_weight_decay"):
        torch._foreach_mul_(ps, 1 - group["lr"] * decay)
        return gs
    return list(torch._foreach_add(gs, ps, alpha=decay))
