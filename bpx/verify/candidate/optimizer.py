"""verify_optimizer: anyone's torch.optim.Optimizer or optax transform against a specification or a
second implementation, step by step."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from bpx.spec import Optimizer, one_of, require
from bpx.verify.candidate.plan import Check, run
from bpx.verify.candidate.report import CandidateReport
from bpx.verify.finding import Finding

SHAPES = ((7, 5), (11,), (), (3, 1, 2))
STEPS = 15
LIMIT = 1e-11  # float64: 15 steps of a dozen roundings, over what an element has been so far
KINDS = ("ordinary", "x30", "tiny", "exactly zero", "absent")
Stepper = Callable[[list[Any]], list[Any]]


def verify_optimizer(
    make: Callable[..., Any],
    against: Any,
    *,
    framework: str,
    options: Mapping[str, Any] | None = None,
    absent: bool = True,
    kinds: Sequence[str] = KINDS,
) -> CandidateReport:
    """Check the trajectory of an optimizer. Returns the report; `.check()` raises.

    make        torch: params -> torch.optim.Optimizer; jax: () -> an optax-style transform
    against     an Optimizer entry of bpx with `options`, or a second `make`
    absent      torch: also with gradients that are None in some steps
    kinds       of gradients, of KINDS: each is a trajectory of its own
    """
    one_of("verify_optimizer", "framework", framework, ("torch", "jax"))
    for kind in kinds:
        one_of("verify_optimizer", "kinds", kind, KINDS)
    require(against is not make, "verify_optimizer: the reference is the optimizer itself")
    host = importlib.import_module(f"bpx_{framework}.candidate.optimizer")
    name = getattr(make, "__name__", type(make).__name__)
    level = "a specification" if isinstance(against, Optimizer) else "a second implementation"

    def reference(params: list[Any]) -> Stepper:
        if isinstance(against, Optimizer):
            return spec_stepper(against, {**against.options, **(options or {})}, params)
        return host.stepper(against, params)

    checks = [
        Check("trajectory", kind, partial(_compared, host, make, reference, kind))
        for kind in kinds
        if kind != "absent" or (absent and framework == "torch")
    ]
    checks += host.checks(make, parameters(), gradients("ordinary"))
    found = partial(Finding, name, framework, "yours")
    start = time.perf_counter()
    outcomes = [run(check, found, 60.0) for check in checks]
    trial = SimpleNamespace(
        name=name, host=SimpleNamespace(name=framework), reference=SimpleNamespace(level=level),
        waivers={}, points=SimpleNamespace(seed=0), surrogate=False,
    )  # fmt: skip
    return CandidateReport(trial, outcomes, time.perf_counter() - start)


def parameters() -> list[Any]:
    """Float64 arrays, each element in a decade of its own."""
    rng = np.random.default_rng(1)
    return [rng.normal(size=s) * 10.0 ** rng.uniform(-4, 1, size=s) for s in SHAPES]


def gradients(kind: str) -> list[list[Any]]:
    """One list of gradients a step, over six decades."""
    rng = np.random.default_rng(2)
    decades = [10.0 ** rng.uniform(-5, 1, size=s) for s in SHAPES]
    path: list[list[Any]] = []
    for t in range(STEPS):
        gs: list[Any] = [d * rng.normal(size=d.shape) for d in decades]
        if kind == "x30" and t % 4 == 2:
            gs = [30 * g for g in gs]
        if kind == "tiny":
            gs = [1e-6 * g for g in gs]
        if kind == "exactly zero" and t in (0, 1, 7):
            gs = [np.zeros_like(g) for g in gs]
        if kind == "absent":
            gs = [None if (t + 2 * i) % 5 == 0 else g for i, g in enumerate(gs)]
        path.append(gs)
    return path


def spec_stepper(spec: Optimizer, options: dict[str, Any], params: list[Any]) -> Stepper:
    held, counts = [np.array(p) for p in params], [0] * len(params)
    states = [spec.init(p, **options) for p in held]

    def stepper(gs: list[Any]) -> list[Any]:
        for i, g in enumerate(gs):
            if g is not None:
                counts[i] += 1
                held[i], states[i] = spec.step(held[i], g, states[i], counts[i], **options)
        return held

    return stepper


def _compared(host: Any, make: Any, reference: Any, kind: str) -> Iterator[dict[str, Any]]:
    candidate, other = host.stepper(make, parameters()), reference(parameters())
    sizes = [np.zeros(s) for s in SHAPES]
    for t, gs in enumerate(gradients(kind), 1):
        got, want = candidate(gs), other(gs)
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            sizes[i] = np.maximum(sizes[i], np.abs(w))
            off = np.abs(g - w) / np.where(sizes[i] > 0, sizes[i], 1e-300)
            off = np.where(g == w, 0.0, np.where(np.isfinite(off), off, np.inf))
            worst = float(off.max(initial=0.0))
            yield {"what": f"parameter {i} at step {t}", "ratio": worst / LIMIT,
                   "eps": worst / 2.0**-52}  # fmt: skip
