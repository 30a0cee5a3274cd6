"""Optimizer trajectories: the same gradients through two implementations, compared at every step.

A stepper is a function: list of gradients (None for a parameter without one) -> list of parameters,
list of states (dicts of arrays under the entry's names, "t" for the step count). `spec_stepper`
makes the specification's; the test modules make those of the frameworks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bpx.spec import Optimizer

Arrays = list[Any]
Stepper = Callable[[Arrays], tuple[Arrays, list[dict[str, Any]]]]
Path = list[tuple[Arrays, list[dict[str, Any]]]]

SHAPES = ((7, 5), (11,), (), (3, 1, 2), (0, 4))
STEPS = 100
SHORT = 20  # for what does not depend on the length of a run
TOLERANCE = 1e-12  # float64: 100 steps of a dozen roundings are 3e-13; see `worst` for the measure

# What differs from that for an optimizer; a new one that is not named here is run like the others.
SHAPES_OF: dict[str, tuple[tuple[int, ...], ...]] = {  # where not every shape is taken
    "adafactor": SHAPES[:4],  # torch.optim divides by the number of elements
    "muon": ((7, 5), (3, 8), (1, 3), (4, 4)),
}
LIMITS: dict[str, float] = {}  # a larger limit, at most 1e-10, with its reason
# How much a rounding inside a step may grow before the step ends.
CONDITION: dict[str, float] = {
    "muon": 3.4445**5,  # the slope of five iterations at 0
    "shampoo": 1e4,  # the largest eigenvalue of the sums of products, about 1e7, over eps
}
# elements are mixed: errors relative to the array, not to each
WHOLE: frozenset[str] = frozenset({"muon", "shampoo"})


def complete(spec: Optimizer, options: dict[str, Any]) -> dict[str, Any]:
    return {**spec.options, **options}


def shapes(spec: Optimizer) -> tuple[tuple[int, ...], ...]:
    return SHAPES_OF.get(spec.name, SHAPES)


def parameters(spec: Optimizer, seed: int = 1) -> Arrays:
    """Float64 arrays, each element in a decade of its own between 1e-6 and 10; the fourth is 0."""
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=s) * 10.0 ** rng.uniform(-6, 1, size=s) for s in shapes(spec)]
    found[3] *= 0.0
    return found


def gradients(spec: Optimizer, *, absent: bool, steps: int = STEPS, seed: int = 2) -> list[Arrays]:
    """Random gradients over eight decades, 1e-7 to 10: some steps larger by 30, some exactly zero.

    Each element keeps its decade. The first step has zeros too, where moments are still zero. With
    `absent` some gradients are None, so that the parameters count different numbers of steps.
    """
    rng = np.random.default_rng(seed)
    decades = [10.0 ** rng.uniform(-7, 1, size=s) for s in shapes(spec)]
    path: list[Arrays] = []
    for t in range(steps):
        loud = 30.0 if t % 6 == 4 else 1.0
        gs: Arrays = [loud * d * rng.normal(size=d.shape) for d in decades]
        gs = [np.where(rng.uniform(size=g.shape) < 0.15, 0.0, g) for g in gs]
        if t % 40 in (5, 11):
            gs = [np.zeros_like(g) for g in gs]
        if absent:
            gs = [None if (t + 2 * i) % 7 == 0 else g for i, g in enumerate(gs)]
        path.append(gs)
    return path


def trajectory(stepper: Stepper, grads: list[Arrays]) -> Path:
    """Parameters and states after every step, copied."""
    path = []
    for gs in grads:
        params, states = stepper(gs)
        path.append(
            (
                [np.array(p) for p in params],
                [{k: np.array(v) for k, v in s.items()} for s in states],
            )
        )
    return path


def spec_stepper(
    spec: Optimizer, options: list[dict[str, Any]], params: Arrays, maximize: bool = False
) -> Stepper:
    """The specification's stepper; `options` are complete, one set per parameter."""
    held = [np.array(p) for p in params]
    states = [spec.init(p, **o) for p, o in zip(held, options, strict=True)]
    counts = [0 for _ in held]
    moved = [False for _ in held]

    def stepper(gs: Arrays) -> tuple[Arrays, list[dict[str, Any]]]:
        if spec.prepare is not None:
            gs = spec.prepare(gs, options)
        for i, g in enumerate(gs):
            if g is None and not spec.shared:
                continue
            counts[i] += 1
            if g is None:  # the group goes on
                _, state = spec.step(
                    held[i], np.zeros_like(held[i]), states[i], counts[i], **options[i]
                )
                states[i] = {**states[i], **{k: state[k] for k in spec.shared}}
                continue
            moved[i] = True
            before = held[i].copy(), {k: v.copy() for k, v in states[i].items()}
            p, state = spec.step(held[i], -g if maximize else g, states[i], counts[i], **options[i])
            assert np.array_equal(before[0], held[i], equal_nan=True), (
                f"{spec.name}: step changed p in place"
            )
            for k, v in states[i].items():
                assert np.array_equal(before[1][k], v, equal_nan=True), f"{spec.name}: {k} changed"
            held[i], states[i] = p, state
        shown = [{**s, "t": np.array(t)} for s, t in zip(states, counts, strict=True)]
        shown = [s if m else {} for s, m in zip(shown, moved, strict=True)]
        return held, shown

    return stepper


def worst(got: Path, want: Path, whole: bool = False) -> tuple[float, str]:
    """The largest error and where it is.

    The measure is element by element: |got - want| over the largest |want| that this element had so
    far (a moment of random signs may pass through 0, and cannot be held to its own size there), or
    with `whole` that any element of its array had. NaN and infinity count as infinite errors, as do
    missing and surplus arrays.
    """
    found, where = 0.0, ""
    sizes: dict[tuple[int, str], Any] = {}
    assert len(got) == len(want)
    for t, ((ps, ss), (want_ps, want_ss)) in enumerate(zip(got, want, strict=True), 1):
        for i, (p, s, want_p, want_s) in enumerate(zip(ps, ss, want_ps, want_ss, strict=True)):
            here = {"p": want_p, **want_s}
            there = {"p": p, **(s if want_s else {})}
            if here.keys() - {"t"} != there.keys() - {"t"}:
                return np.inf, f"step {t}, parameter {i}: {sorted(there)}, expected {sorted(here)}"
            for key in there:
                a, b = np.asarray(there[key], np.float64), np.asarray(here[key], np.float64)
                if a.shape != b.shape:
                    return np.inf, f"step {t}, parameter {i}: {key} is {a.shape}, not {b.shape}"
                size = np.abs(b)
                if whole and size.size:
                    size = np.full_like(size, size.max())
                size = sizes[i, key] = np.maximum(sizes.get((i, key), 0.0), size)
                error = np.abs(a - b) / np.where(size > 0, size, 1e-300)
                error = np.where(a == b, 0.0, np.where(np.isfinite(error), error, np.inf))
                if error.size and error.max() > found:
                    found, where = float(error.max()), f"step {t}, parameter {i}, {key}"
    return found, where


def assert_same(
    got: Path, want: Path, what: str, tolerance: float = TOLERANCE, whole: bool = False
) -> None:
    error, where = worst(got, want, whole)
    assert error <= tolerance, f"{what}: error {error:.1e} at {where} (limit {tolerance:.0e})"


def measure(spec: Optimizer) -> dict[str, Any]:
    """The arguments of `assert_same` for an entry in float64."""
    return {"tolerance": LIMITS.get(spec.name, TOLERANCE), "whole": spec.name in WHOLE}


def label(case: Any) -> str:
    """A test id for an entry or a set of options, the same in every process."""
    if isinstance(case, dict):
        return ",".join(f"{k}={_shown(v)}" for k, v in case.items()) or "defaults"
    return str(getattr(case, "name", case))


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"({','.join(map(_shown, value))})"
    return str(getattr(value, "__name__", value))
