"""Adafactor's step under options that torch.optim.Adafactor has not: those of other libraries."""

from __future__ import annotations

import torch
from torch import Tensor

from bpx.optimizers.adafactor import SPEC, axes
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, number
from bpx_torch.optimizers._trust import norm

BEYOND = (
    *("eps_in_square", "relative_step", "parameter_scale", "decay_by_lr", "momentum"),
    *("decay_offset", "factored", "largest_axes", "min_dim_size_to_factor"),
)


def beyond(group: Group) -> bool:
    """Whether a group has any of them; one of the entry's default is not held."""
    return any(key in group for key in BEYOND)


def step_(p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
    """Move one parameter, with every option; eps1 is a number."""
    o = {**SPEC.options, **group}
    lr, decay, d = number(o["lr"]), number(o["weight_decay"]), o["d"]
    eps1, eps2 = float(o["eps"][0]), o["eps"][1]
    elapsed = t - o["decay_offset"]
    elapsed = elapsed.clamp(min=1) if isinstance(elapsed, Tensor) else max(elapsed, 1)
    size = _smaller(lr, t**-0.5, p) if o["relative_step"] else lr
    if o["parameter_scale"]:
        size = size * _rms(p).clamp(min=eps2)
    root = _second_moment(g, state, o, elapsed ** o["beta2_decay"], eps1)
    root = root.sqrt_() if o["eps_in_square"] else root.sqrt_().clamp_(min=eps1)
    u = torch.where(root > 0, g / torch.where(root > 0, root, 1.0), 0.0)
    if d is not None:
        u = u / (_rms(u) / d).clamp(min=1.0)
    u = u * size
    if o["momentum"] != 0:
        u = state["exp_avg"].lerp_(u, 1 - o["momentum"]).clone()
    if o["decay_by_lr"]:
        decay = lr * decay
    p.sub_(u + p * decay)


def _rms(x: Tensor) -> Tensor:
    """The root of the mean of squares, without dims; 0 of nothing."""
    return norm(x) / max(x.numel(), 1) ** 0.5


def _smaller(a: Number, b: Number, p: Tensor) -> Number:
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        return min(a, b)
    both = (torch.as_tensor(x, dtype=torch.float64, device="cpu") for x in (a, b))
    return torch.minimum(*both).to(p)


def _second_moment(g: Tensor, state: State, o: Group, share: Number, eps1: float) -> Tensor:
    """The running mean of squares after this step, a new tensor; the state is moved on."""
    square = g * g + eps1 if o["eps_in_square"] else g * g
    keep = 1 - share
    pair = axes(tuple(g.shape), o)
    if pair is None:
        return state["variance"].mul_(keep).add_(square * share).clone()
    down, along = pair
    row, col = state["row_var"], state["col_var"]
    for mean, axis in ((row, along), (col, down)):
        mean.mul_(keep)
        mean.add_(square.sum(axis, keepdim=True) * (share / max(g.shape[axis], 1)))
    middle = row.sum(down, keepdim=True) / max(g.shape[down], 1)
    middle = middle if o["eps_in_square"] else middle.clamp(min=eps1)
    return row * col / torch.where(middle > 0, middle, torch.inf)
