"""Shampoo for PyTorch. Maths, options and source: bpx/optimizers/shampoo.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.shampoo import SPEC
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, mix_, nonzero, number

AXES = 8  # of which the state is named for the tests; more are taken


class Shampoo(SpecOptimizer):
    """A preconditioner for each axis of a tensor; torch.optim has none.

    Args:
        params: tensors, named tensors, or groups of them.
        lr: the step.
        momentum: decay of the running mean of gradients that is preconditioned; 0 keeps none.
        weight_decay: multiplied by lr.
        eps: added to the diagonal of the preconditioners, above 0.
        update_freq: steps from one computation of the roots to the next.
        beta2: decay of the preconditioners; 1 sums.
        exponent: of the inverse; None is 1 / (2 * the number of axes).
        max_dim: longer axes have a diagonal preconditioner.
        decoupled_weight_decay: False adds the decay to the gradient instead.
        foreach, maximize: as in torch.optim.SGD.

    The state of a 16-bit parameter is float32.

    Raises:
        SpecError: an option outside its limits.

    >>> w = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> w.grad = torch.tensor([[4.0, 0.0], [0.0, 9.0]])
    >>> Shampoo([w], lr=0.5, eps=1e-12).step()
    >>> w.detach()
    tensor([[0.5000, 2.0000],
            [3.0000, 3.5000]])
    """

    SPEC = SPEC
    STATE = {  # noqa: RUF012
        "m": "momentum_buffer",
        **{f"h{i}": f"precond_{i}" for i in range(AXES)},
        **{f"root{i}": f"inv_precond_{i}" for i in range(AXES)},
    }
    LATER = {"foreach": None, "maximize": False}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 0.1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        eps: float = 1e-4,
        update_freq: int = 1,
        *,
        beta2: float = 1.0,
        exponent: float | None = None,
        max_dim: int = 1200,
        decoupled_weight_decay: bool = True,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "eps": eps,
            "update_freq": update_freq,
            "beta2": beta2,
            "exponent": exponent,
            "max_dim": max_dim,
            "decoupled_weight_decay": decoupled_weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        zeros = torch.zeros_like(p, memory_format=torch.preserve_format)
        state = {"momentum_buffer": zeros} if group["momentum"] != 0 else {}
        for i, n in enumerate(p.shape or (1,)):
            zero = p.new_zeros((n, n) if n <= group["max_dim"] else (n,))
            state[f"precond_{i}"] = zero
            if group["update_freq"] > 1:
                state[f"inv_precond_{i}"] = zero.clone()
        return state

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, decay = number(group["lr"]), number(group["weight_decay"])
        d = _direction(p, g, state, group, t)
        if nonzero(decay) and group["decoupled_weight_decay"]:
            p.mul_(1 - lr * decay)
        p.sub_(d * lr)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        rows = zip(ps, gs, states, ts, strict=True)
        ds = [_direction(p, g, s, group, t) for p, g, s, t in rows]
        if group["weight_decay"] != 0 and group["decoupled_weight_decay"]:
            torch._foreach_mul_(ps, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(ps, ds, alpha=-group["lr"])


def _direction(p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> Tensor:
    """The preconditioned gradient; the state is moved on."""
    if not group["decoupled_weight_decay"]:
        g = g + p * group["weight_decay"]
    d = g
    if group["momentum"] != 0:
        d = state["momentum_buffer"]
        mix_(d, g, group["momentum"])
    shape = p.shape or (1,)
    g, d = g.reshape(shape), d.reshape(shape)
    power = 1 / (2 * len(shape)) if group["exponent"] is None else group["exponent"]
    for i in range(len(shape)):
        h = state[f"precond_{i}"]
        others = [a for a in range(len(shape)) if a != i]
        product = torch.tensordot(g, g, (others, others)) if h.dim() == 2 else (g * g).sum(others)
        if h.dim() == 1 and not others:
            product = g * g
        if group["beta2"] == 1:
            h.add_(product)
        else:
            mix_(h, product, group["beta2"])
        inverse = _root(h, group, power, state, i, t)
        if h.dim() == 2:
            d = torch.tensordot(d, inverse, ([i], [0])).movedim(-1, i)
        else:
            d = d * inverse.reshape([-1 if a == i else 1 for a in range(len(shape))])
    return d.reshape(p.shape)


def _root(h: Tensor, group: Group, power: float, state: State, i: int, t: Number) -> Tensor:
    """(h + eps I)^-power, or the one that the state holds where it is not due."""
    frequency = group["update_freq"]
    if frequency > 1 and not isinstance(t, Tensor) and t % frequency != 1:
        return state[f"inv_precond_{i}"]
    if h.dim() == 1:
        new = (h + group["eps"]) ** -power
    else:
        values, vectors = torch.linalg.eigh(h)
        new = (vectors * (values.clamp(min=0) + group["eps"]) ** -power) @ vectors.mT
    if frequency > 1:
        held = state[f"inv_precond_{i}"]
        due = torch.as_tensor(t % frequency == 1, device=h.device)
        held.copy_(torch.where(due, new, held))
        return held
    return new
