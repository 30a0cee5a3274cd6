"""verify_module and verify_initializer: the kit for what is no plain function of arrays."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from bpx.spec import Initializer
from bpx.verify.candidate.api import verify_rule
from bpx.verify.candidate.arguments import Argument, Float
from bpx.verify.candidate.plan import Check, NotRun, run
from bpx.verify.candidate.report import CandidateReport
from bpx.verify.finding import Finding

# Kolmogorov's limit law: P(sqrt(n) D > t) <= 2 exp(-2 t^2); t = 3.3 is 7e-10
DISTANCE = 3.3
SIGMAS = 6.0


def verify_module(
    module: Any, args: Sequence[Argument], *, ref: Any, **how: Any
) -> CandidateReport:
    """verify_rule for a torch module against another one with parameters of the same names: every
    parameter is an argument with a gradient of its own, after those of `args`.

    Raises KeyError where `ref` has no parameter of a name. Buffers stay as they are.
    """
    from torch.func import functional_call

    names = [name for name, _ in module.named_parameters()]
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    theirs = dict(ref.named_parameters())
    if missing := [name for name in names if name not in theirs]:
        raise KeyError(f"verify_module: ref has no parameter {missing[0]!r}")

    def call(which: Any) -> Callable[..., Any]:
        def f(*arrays: Any, **options: Any) -> Any:
            inputs, values = arrays[: len(args)], arrays[len(args) :]
            return functional_call(which, dict(zip(names, values, strict=True)), inputs, options)

        f.__name__ = type(which).__name__
        return f

    every = [*args, *(Float(*shapes[name]) for name in names)]
    for which in (module, ref):
        which.to(dtype=importlib.import_module("torch").float64)
    return verify_rule(call(module), every, ref=call(ref), framework="torch", **how)


def verify_initializer(
    draw: Callable[[Any, tuple[int, ...]], Any],
    against: Initializer | Callable[[Any, tuple[int, ...]], Any],
    *,
    shape: tuple[int, ...] = (96, 64),
    seeds: Sequence[int] = (0, 1, 2, 3),
    **options: Any,
) -> CandidateReport:
    """Check the distribution of an initializer. Returns the report; `.check()` raises.

    draw        draw(seed, shape) -> array of this shape
    against     an Initializer entry of bpx with `options`, or a second draw
    Draws of all seeds are compared as one sample: mean, standard deviation, largest value, and the
    distance of Kolmogorov and Smirnov.
    """
    name = getattr(draw, "__name__", type(draw).__name__)
    other = _of_entry(against, options) if isinstance(against, Initializer) else against

    def sample(f: Any, offset: int) -> Any:
        return np.concatenate([np.ravel(np.asarray(f(s + offset, shape))) for s in seeds])

    def shapes() -> Iterator[dict[str, Any]]:
        got = np.shape(np.asarray(draw(0, shape)))
        message = "" if got == shape else f"has shape {got}, expected {shape}"
        yield {"what": "shape", "message": message}

    def seeded() -> Iterator[dict[str, Any]]:
        one, two = (np.asarray(draw(3, shape)) for _ in range(2))
        message = "" if np.array_equal(one, two) else "differs for one seed"
        yield {"what": "draw", "message": message}

    def moments() -> Iterator[dict[str, Any]]:
        a, b = sample(draw, 0), sample(other, 1000)
        error = SIGMAS * (a.std() + b.std() + 1e-300) / np.sqrt(a.size)
        yield {"what": "mean", "ratio": abs(a.mean() - b.mean()) / error}
        kurtosis = max(1.0, float(((b - b.mean()) ** 4).mean() / max(b.var() ** 2, 1e-300)))
        relative = SIGMAS * np.sqrt(kurtosis / a.size)
        size = max(float(b.std()), 1e-300)
        yield {"what": "standard deviation", "ratio": abs(a.std() - b.std()) / size / relative}

    def distance() -> Iterator[dict[str, Any]]:
        a, b = np.sort(sample(draw, 0)), np.sort(sample(other, 1000))
        if a[0] == a[-1] or b[0] == b[-1]:
            raise NotRun("a constant has no distribution")
        every, n = np.concatenate([a, b]), a.size
        gap = np.abs(
            np.searchsorted(a, every, "right") / a.size
            - np.searchsorted(b, every, "right") / b.size
        ).max()
        yield {"what": "distribution", "ratio": float(gap / (DISTANCE * np.sqrt(2 / n)))}

    checks = [
        Check("forward", "shape", shapes),
        Check("repeat", "one seed", seeded),
        Check("value", "moments", moments),
        Check("value", "distribution", distance),
    ]
    found = partial(Finding, name, "numpy", "yours")
    start = time.perf_counter()
    outcomes = [run(check, found, 60.0) for check in checks]
    trial = SimpleNamespace(
        name=name, host=SimpleNamespace(name="numpy"), waivers={}, surrogate=False,
        reference=SimpleNamespace(level="samples of the reference"),
        points=SimpleNamespace(seed=0),
    )  # fmt: skip
    return CandidateReport(trial, outcomes, time.perf_counter() - start)


def _of_entry(entry: Initializer, options: dict[str, Any]) -> Callable[[Any, Any], Any]:
    """draw(seed, shape) of an entry of the specification."""
    full = {**entry.options, **options}

    def draw(seed: Any, shape: tuple[int, ...]) -> Any:
        rng = np.random.default_rng([seed, 77])

        def noise(kind: str, size: tuple[int, ...]) -> Any:
            return rng.random(size) if kind == "uniform" else rng.standard_normal(size)

        return entry.from_noise(noise, shape, **full)

    return draw
