"""Rprop for PyTorch. Maths, options and source: bpx/optimizers/rprop.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.rprop import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, number

# elements from which arrays are stepped one by one: made for all of them at once, what lies between
# two operations is memory that was never touched, and costs more than the calls that are saved
LARGE = 65536


class Rprop(SpecOptimizer):
    """Replaces torch.optim.Rprop: the same arguments, steps and state.

    Differs: complex parameters are refused; `capturable=True` also runs on a CPU, tensor by tensor;
    two gradients whose product underflows still have signs; step_sizes are checked.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> Rprop([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.5000, 2.5000])
    """

    SPEC = SPEC
    STATE = {"prev": "prev", "step_size": "step_size"}  # noqa: RUF012
    LATER = {  # noqa: RUF012
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    @profiled("rprop", beyond=("clamp_unchanged",))
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        clamp_unchanged: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults, clamp_unchanged=clamp_unchanged)

    def _start(self, p: Tensor, group: Group) -> State:
        lr = number(group["lr"])
        zeros = torch.zeros_like(p, memory_format=torch.preserve_format)
        return {"prev": zeros, "step_size": zeros + lr}  # lr may be a tensor with a gradient

    def _native(self, group: Group) -> ns.Native:
        numbers = (group["lr"], *group["etas"], *group["step_sizes"])
        numbers += (group.get("clamp_unchanged", True),)
        return ns.Native("step_rprop", ("prev", "step_size"), ns.bits(group), numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        size = state["step_size"]
        turn = g.sign() * state["prev"].sign()
        new = (size * factors(turn, group)).clamp_(*group["step_sizes"])
        size.copy_(new if group.get("clamp_unchanged", True) else new.where(turn != 0, size))
        g = g.masked_fill(turn < 0, 0.0)
        state["prev"].copy_(g)
        p.addcmul_(g.sign(), size, value=-1)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        small = [i for i, p in enumerate(ps) if p.numel() <= LARGE]
        for i in {*range(len(ps))}.difference(small):
            self._step_one(ps[i], gs[i], states[i], group, ts[i])
        if not small:
            return
        ps, gs, states = ([rows[i] for i in small] for rows in (ps, gs, states))
        prevs, sizes = [s["prev"] for s in states], [s["step_size"] for s in states]
        low, high = group["step_sizes"]
        turns = torch._foreach_sign(gs)
        torch._foreach_mul_(turns, torch._foreach_sign(prevs))
        new = torch._foreach_mul(sizes, [factors(turn, group) for turn in turns])
        torch._foreach_clamp_min_(new, low)
        torch._foreach_clamp_max_(new, high)
        if not group.get("clamp_unchanged", True):
            new = [a.where(t != 0, b) for a, t, b in zip(new, turns, sizes, strict=True)]
        torch._foreach_copy_(sizes, new)
        gs = [g.masked_fill(turn < 0, 0.0) for g, turn in zip(gs, turns, strict=True)]
        torch._foreach_copy_(prevs, gs)
        torch._foreach_addcmul_(ps, torch._foreach_sign(gs), sizes, value=-1)


def factors(turn: Tensor, group: Group) -> Tensor:
    """What multiplies a step size, in its dtype: eta_minus, 1 or eta_plus."""
    minus, plus = group["etas"]
    return torch.ones_like(turn).masked_fill_(turn < 0, minus).masked_fill_(turn > 0, plus)
