"""Runs of a wrapped optimizer in PyTorch, and what the specification says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx_torch import optim
from tests.transform_inputs import SPECS, draw, gradients

WRAPPERS: dict[str, dict[str, Any]] = {
    "GradientAccumulation": {"every": 3},
    "SkipNonfinite": {"max_consecutive": 1},
    "DecoupledDecay": {"weight_decay": 0.3},
    "WeightEMA": {"decay": 0.7},
    "WeightSWA": {"start": 2, "every": 3},
    "Lookahead": {"k": 3, "alpha": 0.8},
}
STEPS = 11


def weights(dtype: Any = torch.float64) -> list[Any]:
    return [torch.nn.Parameter(torch.from_numpy(p).to(dtype)) for p in draw(100)]


def feed(ps: Any, t: int, finite: bool = True) -> None:
    gs = draw(t) if finite else gradients(t)
    for p, g in zip(ps, gs, strict=True):
        p.grad = torch.from_numpy(g).to(p.dtype)


def wrapped(name: str, ps: Any, inner: Any = None, **kw: Any) -> Any:
    inner = inner or torch.optim.SGD(ps, lr=0.1, momentum=0.6)
    return getattr(optim, name)(inner, **{**WRAPPERS[name], **kw})


def weights_after(ps: Any) -> list[Any]:
    return [p.detach().clone().numpy() for p in ps]


def run(opt: Any, ps: Any, steps: Any = range(STEPS), finite: bool = True) -> list[Any]:
    rows = []
    for t in steps:
        feed(ps, t, finite)
        opt.step()
        averages = [opt.average(p).numpy() for p in ps] if hasattr(opt, "average") else []
        rows.append([*weights_after(ps), *averages])
    return rows


def momentum_step(ps: Any, gs: Any, held: Any) -> Any:
    """The inner optimizer in NumPy: SGD with momentum."""
    held = [0.6 * m + g for m, g in zip(held, gs, strict=True)]
    return [p - 0.1 * m for p, m in zip(ps, held, strict=True)], held


def specified(name: str, entry: str, finite: bool = True, **kw: Any) -> list[Any]:
    spec = SPECS[entry]
    options = {**spec.options, **WRAPPERS[name], **kw}
    ps, rows = draw(100), []
    held, state = [np.zeros_like(p) for p in ps], spec.init(draw(100), **options)
    for t in range(STEPS):
        gs: Any = draw(t) if finite else gradients(t)
        average: Any = []
        if spec.on == "gradients":
            gs, state = spec.step(gs, ps, state, **options)
        if entry == "decoupled_decay":
            ps, state = spec.step(ps, state, **{**options, "lr": 0.1})
        if gs is not None:
            ps, held = momentum_step(ps, gs, held)
        if spec.on == "weights" and entry != "decoupled_decay":
            average, state = spec.step(ps, state, **options)
        if entry == "lookahead":
            ps, average = average, []
        rows.append([*ps, *average])
    return rows
