"""Muon for PyTorch. Maths, options and source: bpx/optimizers/muon.py."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.muon import SPEC
from bpx.profiles import profiled
from bpx.spec import SpecError
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, nonzero, number


class Muon(SpecOptimizer):
    """Replaces torch.optim.Muon: the same arguments, steps and state.

    The iteration runs in `ns_dtype`, an attribute of the class: bfloat16, as torch's. In it a step
    is off by up to some percent of its size. An instance or a subclass may set another, None for
    the momentum's own.

    Differs: one group may hold `ns_coefficients` with a triple for each iteration. With
    bias_correction, an option of a profile, the state has a "step".

    >>> w = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> w.grad = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> Muon([w], lr=0.5, weight_decay=0).step()
    >>> w.detach().round(decimals=1)
    tensor([[0.4000, 2.0000],
            [3.0000, 3.4000]])
    """

    SPEC = SPEC
    STATE = {"buf": "momentum_buffer"}  # noqa: RUF012
    COUNTS = False
    ns_dtype: torch.dtype | None = torch.bfloat16

    @profiled("muon", beyond=("bias_correction", "eps_added", "inputs_first"))
    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        bias_correction: bool = False,
        eps_added: bool = False,
        inputs_first: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(
            params,
            defaults,
            bias_correction=bias_correction,
            eps_added=eps_added,
            inputs_first=inputs_first,
        )

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)
        for i, p in enumerate(self.param_groups[-1]["params"]):
            if p.dim() != 2:
                del self.param_groups[-1]
                raise SpecError(
                    f"muon: parameter {i} of the group has shape {tuple(p.shape)}, expected two "
                    "dims (the others are for AdamW)"
                )

    def _start(self, p: Tensor, group: Group) -> State:
        state = {"momentum_buffer": torch.zeros_like(p, memory_format=torch.preserve_format)}
        return state | ({"step": self._counter(p, group)} if group.get("bias_correction") else {})

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, decay, momentum = number(group["lr"]), number(group["weight_decay"]), group["momentum"]
        buf = state["momentum_buffer"]
        g = g.to(buf.dtype)
        buf.lerp_(g, 1 - momentum)
        x = g.lerp(buf, momentum) if group["nesterov"] else buf
        if group.get("bias_correction"):
            state["step"] += 1
            steps = state["step"].double()
            now, ahead = 1 - momentum**steps, 1 - momentum ** (steps + 1)
            x = buf / now
            if group["nesterov"]:
                x = g * ((1 - momentum) / now) + buf * (momentum / ahead)
        x = _orthogonal(x.to(self.ns_dtype or x.dtype), group)
        if nonzero(decay):
            p.mul_(1 - lr * decay)
        p.sub_(x.to(p.dtype) * (lr * _factor(p, group)))


def _orthogonal(x: Tensor, group: Group) -> Tensor:
    """x with singular values near 1, in x's dtype."""
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    below = torch.linalg.vector_norm(x)
    below = below + group["eps"] if group.get("eps_added") else below.clamp(min=group["eps"])
    x = x / (below if group["eps"] > 0 else torch.where(below > 0, below, 1.0))
    rows = group["ns_coefficients"]
    rows = rows if isinstance(rows[0], (tuple, list)) else [rows] * group["ns_steps"]
    for a, b, c in rows:
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _factor(p: Tensor, group: Group) -> float:
    rows, columns = reversed(p.shape) if group.get("inputs_first") else p.shape
    if group["adjust_lr_fn"] == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / max(columns, 1)))
