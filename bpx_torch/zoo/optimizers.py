"""Bugs of optimizers: where epsilon stands, what a state begins with, what is written to, scalars
in another precision, a gradient that is exactly zero."""

from __future__ import annotations

import math
from typing import Any

import torch

from bpx import optimizers
from bpx.verify.zoo import StepPlant

SPECS = {o.name: o for o in optimizers.ALL}
LR, EPS, B1, B2 = 0.01, 1e-3, 0.9, 0.99


class Stepped(torch.optim.Optimizer):
    """update(p, g, state) for every parameter with a gradient; `state` counts steps as "t"."""

    def __init__(self, params: Any, update: Any) -> None:
        self.update = update
        super().__init__(params, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["t"] = state.get("t", 0) + 1
                    self.update(p, p.grad, state)


def by(update: Any) -> Any:
    def make(params: Any) -> Stepped:
        return Stepped(params, update)

    return make


def kept(state: Any, name: str, like: Any, first: float = 0.0) -> Any:
    if name not in state:
        state[name] = torch.full_like(like, first)
    return state[name]


def moments(g: Any, state: Any) -> Any:
    """Both moments and their corrections."""
    m, v = kept(state, "m", g), kept(state, "v", g)
    m.mul_(B1).add_(g, alpha=1 - B1)
    v.mul_(B2).addcmul_(g, g, value=1 - B2)
    return m, v, 1 - B1 ** state["t"], 1 - B2 ** state["t"]


def adam_right(p: Any, g: Any, state: Any) -> None:
    m, v, c1, c2 = moments(g, state)
    p.sub_(LR * (m / c1) / ((v / c2).sqrt() + EPS))


def adam_early(p: Any, g: Any, state: Any) -> None:
    m, v, c1, c2 = moments(g, state)
    p.sub_(LR * m / (v.sqrt() + EPS) * math.sqrt(c2) / c1)


def _rmsprop(first: float, inside: bool) -> Any:
    def update(p: Any, g: Any, state: Any) -> None:
        v = kept(state, "v", g, first)
        v.mul_(B2).addcmul_(g, g, value=1 - B2)
        p.sub_(LR * g / ((v + EPS).sqrt() if inside else v.sqrt() + EPS))

    return update


def _adagrad(early: bool) -> Any:
    def update(p: Any, g: Any, state: Any) -> None:
        decayed = g + 0.1 * p
        total = kept(state, "sum", g)
        total.add_((decayed if early else g).square())
        p.sub_(LR * decayed / (total.sqrt() + EPS))

    return update


def _sgd(own: bool) -> Any:
    def update(p: Any, g: Any, state: Any) -> None:
        if own:
            p.sub_(LR * (g + 0.1 * p))
        else:
            p.sub_(LR * g.add_(p, alpha=0.1))

    return update


def _radam(scalar: Any) -> Any:
    """`scalar` rounds the length of the average."""
    most = 2 / (1 - B2) - 1

    def update(p: Any, g: Any, state: Any) -> None:
        m, v, c1, c2 = moments(g, state)
        t = state["t"]
        rho = float(scalar(most) - 2 * t * scalar(B2) ** t / (1 - scalar(B2) ** t))
        if rho <= 5:
            p.sub_(LR * m / c1)
            return
        r = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
        p.sub_(LR * r * (m / c1) * math.sqrt(c2) / (v.sqrt() + EPS))

    return update


def _normalised(guarded: bool) -> Any:
    def update(p: Any, g: Any, state: Any) -> None:
        norm = g.square().sum().sqrt()
        p.sub_(LR * (g / norm if not guarded else torch.where(norm > 0, g / norm, 0.0)))

    return update


def normalised(p: Any, g: Any, state: Any) -> None:
    """In other words: the same step."""
    if bool((g != 0).any()):
        p.sub_(g * (LR / torch.linalg.vector_norm(g)))


_LR = {"lr": LR}
PLANTS = (
    StepPlant(97, "epsilon before the bias correction", ("trajectory",), by(adam_right),
              by(adam_early), SPECS["adam"], {**_LR, "betas": (B1, B2), "eps": EPS}),
    StepPlant(98, "epsilon inside the root, a state that begins with 1", ("trajectory",),
              by(_rmsprop(0.0, False)), by(_rmsprop(1.0, True)), SPECS["rmsprop"],
              {**_LR, "alpha": B2, "eps": EPS}),
    StepPlant(100, "weight decay left out of the accumulator", ("trajectory",), by(_adagrad(True)),
              by(_adagrad(False)), SPECS["adagrad"], {**_LR, "eps": EPS, "weight_decay": 0.1}),
    StepPlant(101, "weight decay added into the gradient itself", ("purity",), by(_sgd(True)),
              by(_sgd(False)), SPECS["sgd"], {**_LR, "weight_decay": 0.1}),
    StepPlant(103, "scalars of the schedule in single precision", ("trajectory",),
              by(_radam(float)), by(_radam(lambda a: torch.tensor(a, dtype=torch.float32))),
              SPECS["radam"], {**_LR, "betas": (B1, B2), "eps": EPS}),
    StepPlant(104, "0 / 0 where a gradient is exactly zero", ("trajectory",), by(_normalised(True)),
              by(_normalised(False)), by(normalised)),
)  # fmt: skip
