"""Adafactor for PyTorch. Maths, options and source: bpx/optimizers/adafactor.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.adafactor import SPEC
from bpx_torch._optimizer import Group, Number, SpecOptimizer, State, nonzero, number
from bpx_torch.optimizers._trust import norm, norms


class Adafactor(SpecOptimizer):
    """Replaces torch.optim.Adafactor: the same arguments, steps and state.

    Differs: parameters without elements are taken; `eps=(None, ...)` is the spacing of each
    parameter's own dtype (torch: of the group's first); with eps1 = 0 a zero gradient is a zero
    step, not NaN.

    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> Adafactor([w], lr=0.1).step()
    >>> w.detach()
    tensor([2.6464, 4.3536])
    """

    SPEC = SPEC
    STATE = {"row": "row_var", "col": "col_var", "v": "variance"}  # noqa: RUF012
    LATER = {"foreach": None}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        if p.dim() < 2:
            return {"variance": torch.zeros_like(p, memory_format=torch.preserve_format)}
        *batch, rows, columns = p.shape
        return {
            "row_var": p.new_zeros((*batch, rows, 1)),
            "col_var": p.new_zeros((*batch, 1, columns)),
        }

    def _options(self, p: Tensor, group: Group) -> Group:
        eps1, eps2 = group["eps"]
        return group if eps1 is not None else {**group, "eps": (torch.finfo(p.dtype).eps, eps2)}

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, decay = number(group["lr"]), number(group["weight_decay"])
        small = float(group["eps"][0])
        scale = _scale(norm(p), p, group, t)
        if nonzero(decay):
            p.mul_(1 - lr * decay)
        root = _second_moment(g, state, group, t, small).sqrt().clamp(min=small)
        u = g / (root if small > 0 else torch.where(root > 0, root, 1.0))
        p.sub_(u * (scale / _excess(norm(u), u, group)))

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        lr, decay, small = group["lr"], group["weight_decay"], float(group["eps"][0])
        sizes = norms(ps)
        scales = [_scale(s, p, group, t) for s, p, t in zip(sizes, ps, ts, strict=True)]
        if decay != 0:
            torch._foreach_mul_(ps, 1 - lr * decay)
        us = [_second_moment(g, s, group, t, small) for g, s, t in zip(gs, states, ts, strict=True)]
        torch._foreach_sqrt_(us)
        if small > 0:
            torch._foreach_clamp_min_(us, small)
        else:
            us = [torch.where(u > 0, u, 1.0) for u in us]
        us = list(torch._foreach_div(gs, us))
        over = [_excess(n, u, group) for n, u in zip(norms(us), us, strict=True)]
        torch._foreach_mul_(us, [-s / o for s, o in zip(scales, over, strict=True)])
        torch._foreach_add_(ps, us)


def _scale(size: Tensor, p: Tensor, group: Group, t: Number) -> Tensor:
    """min(lr, 1 / sqrt(t)) * max(eps2, rms(p)) from the norm of p, on p's device."""
    lr, slow = number(group["lr"]), t**-0.5
    if isinstance(lr, Tensor) or isinstance(slow, Tensor):
        both = (torch.as_tensor(x, dtype=torch.float64, device="cpu") for x in (lr, slow))
        rho: Number = torch.minimum(*both).to(size)
    else:
        rho = min(lr, slow)
    return (size / max(p.numel(), 1) ** 0.5).clamp(min=group["eps"][1]) * rho


def _excess(size: Tensor, u: Tensor, group: Group) -> Tensor:
    """max(1, rms(u) / d) from the norm of u."""
    return (size / (max(u.numel(), 1) ** 0.5 * group["d"])).clamp(min=1.0)


def _second_moment(g: Tensor, state: State, group: Group, t: Number, small: float) -> Tensor:
    """The running mean of g^2 after this step, a new tensor; the state is moved on."""
    share = t ** group["beta2_decay"]
    keep = 1 - share
    if "variance" in state:
        v = state["variance"].mul_(keep).add_(g * g * share)
        return v.clone()
    row, col = state["row_var"], state["col_var"]
    squares = g * g
    row.mul_(keep).add_(squares.sum(-1, keepdim=True) * (share / max(g.shape[-1], 1)))
    col.mul_(keep).add_(squares.sum(-2, keepdim=True) * (share / max(g.shape[-2], 1)))
    middle = row.sum(-2, keepdim=True).div(max(g.shape[-2], 1)).clamp(min=small)
    middle = middle if small > 0 else torch.where(middle > 0, middle, 1.0)
    return row * col / middle
