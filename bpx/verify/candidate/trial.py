"""One rule under trial: its reference, its points, and the comparison at a point."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bpx.verify.bound import TINY, UNIT
from bpx.verify.candidate.cotangents import KINDS
from bpx.verify.candidate.levels import DIFFERENCED, EXACT, WIDER, Differences, Specification
from bpx.verify.candidate.measure import WIDEST, K, limits, measured, widened
from bpx.verify.candidate.plan import NotRun
from bpx.verify.candidate.points import Point, Points
from bpx.verify.candidate.rounding import SAMPLES, near, too_much, vanishes
from bpx.verify.draw import Draw

# Of a bound: beyond it rounding is a failure, too. In float64 it is none up to WIDEST u of the
# largest element; whether a rule loses digits is judged in float32, at points of their own.
JUST = {"float64": np.inf, "float32": 4.0}
LARGEST = 64  # elements that differences (level C) are taken of, one by one


class Wanted(NamedTuple):
    """Inputs and incoming gradients; outputs and gradients wanted; their bounds, and wider ones
    that are worth their cost where something fails."""

    inputs: list[Any]
    dys: list[Any]
    values: list[Any]
    bounds: list[Any]
    wide: Callable[[], list[Any]]


class Counted:
    """A function, and how often it was called."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f, self.calls = f, 0

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        self.calls += 1
        return self.f(*arrays, **options)


@dataclass
class Trial:
    """`asked[i]` says whether argument i has a gradient. `definition` is the backward of a rule
    that differs from the derivative on purpose."""

    name: str
    host: Any
    f: Callable[..., Any]
    reference: Any
    points: Points
    asked: tuple[bool, ...]
    dtypes: tuple[str, ...] = ()
    surrogate: bool = False
    linear: bool = True
    twice: bool | None = None
    vmap: bool = True
    nondeterministic: bool = False
    free_kinks: bool = False
    waivers: Mapping[str, str] = field(default_factory=dict)
    counted: Counted = field(init=False)
    drawn: Point | None = None  # the last one that failed

    def __post_init__(self) -> None:
        self.counted = Counted(self.f)

    def inputs(self, point: Point) -> list[Any]:
        """The arrays as the point's dtype sees them."""
        return [
            self.host.rounded(a, point.dtype) if a.dtype.kind == "f" else a for a in point.arrays
        ]

    def cotangents(self, ys: Sequence[Any], dtype: str, kind: str = "random") -> list[Any]:
        """An incoming gradient for each floating output."""
        found: list[Any] = []
        for i, y in enumerate(ys):
            if y.dtype.kind != "f":
                found.append(None)
                continue
            dy = np.asarray(Draw(f"dy {i}", self.points.seed + 1)(*y.shape))
            found.append(self.host.rounded(KINDS[kind](dy), dtype))
        return found

    def reference_at(self, point: Point, kind: str = "random", only: int | None = None) -> Wanted:
        """What is expected at a point. `only` is the one output that gets an incoming gradient;
        the others get zeros."""
        inputs, options, dtype = self.inputs(point), point.options, point.dtype
        dys = self.cotangents(self.reference.like(inputs, options), dtype, kind)
        if only is not None:
            dys = [d if i == only or d is None else np.zeros_like(d) for i, d in enumerate(dys)]
        differenced = isinstance(self.reference, Differences)
        if differenced and sum(a.size for a in inputs) > LARGEST:
            raise NotRun("level C takes differences of small arrays only")
        if differenced and point.kink:
            raise NotRun("no difference is taken at a kink")
        places = [i for i, d in enumerate(dys) if d is not None]

        def both(values: Sequence[Any], low: str = "float64") -> list[Any]:
            given: list[Any] = [None] * len(dys)
            for i, d in zip(places, values[: len(places)], strict=True):
                given[i] = d
            arrays = list(values[len(places) :])
            outputs, grads = self.reference.both(arrays, given, options, low)
            grads = [
                np.zeros(np.shape(a)) if g is None else np.asarray(g, np.float64)
                for g, a, want in zip(grads, arrays, self.asked, strict=True)
                if want
            ]
            return [*(np.asarray(y, np.float64) for y in outputs), *grads]

        values = [*(dys[i] for i in places), *inputs]
        wanted = both(values)
        if differenced and dtype == "float64":
            # a movement would be differences of differences; the term below is wider
            bounds = [
                np.full(w.shape, 8 * K[dtype] * UNIT[dtype] * _largest(w) + TINY[dtype])
                for w in wanted
            ]
        else:
            bounds = limits(both, values, wanted, dtype)
        if differenced:
            n = len(dys)
            bounds[n:] = [
                b + DIFFERENCED * _largest(w) for b, w in zip(bounds[n:], wanted[n:], strict=True)
            ]
        bounds = [b + point.gross * _largest(w) for b, w in zip(bounds, wanted, strict=True)]

        def wide() -> list[Any]:
            if differenced:
                return bounds
            low = "float32" if dtype == "float64" else dtype
            wider = dtype == "float64" and isinstance(self.reference, Specification) and EXACT
            rng, runs = np.random.default_rng(5), []
            try:
                for k in range(SAMPLES):
                    at = [
                        v
                        if np.asarray(v).dtype.kind != "f"
                        else self.host.rounded(
                            v * (1 + 1e-3 * bool(k) * rng.uniform(-1, 1, np.shape(v))), low
                        )
                        for v in values
                    ]
                    runs.append((low, both(at), both(at, low)))
                    if wider:
                        with contextlib.suppress(TypeError):  # of linear algebra, say
                            runs.append((dtype, both(at, WIDER), runs[-1][1]))
            except (RuntimeError, TypeError, NotImplementedError):
                return bounds  # the reference does not run in this dtype
            return widened(bounds, wanted, runs, dtype)

        return Wanted(inputs, dys, wanted, bounds, wide)

    def compared(
        self,
        point: Point,
        kind: str = "random",
        only: int | None = None,
        f: Callable[..., Any] | None = None,
        parts: tuple[str, ...] = ("forward", "vjp"),
    ) -> Iterator[dict[str, Any]]:
        """Outputs and gradients of the rule against the reference, one comparison for each."""
        if point.kink and self.free_kinks:
            raise NotRun("kinks are declared free: any convention is right")
        expected = self.reference_at(point, kind, only)
        inputs, dys, wanted, bounds, wide = expected
        ys, grads = self.host.pull(
            f or self.counted, inputs, point.options, dys, point.dtype, self.asked
        )
        if len(ys) != len(dys):
            yield {"what": "outputs", "message": f"{len(ys)} of them, expected {len(dys)}"}
            return
        got = [*ys, *(g for g, want in zip(grads, self.asked, strict=True) if want)]
        names = [f"output {i}" if len(ys) > 1 else "output" for i in range(len(ys))]
        names += [f"gradient of argument {i}" for i, want in enumerate(self.asked) if want]
        found = [
            measured(g, w, b, point.dtype) for g, w, b in zip(got, wanted, bounds, strict=True)
        ]
        if any(one.get("ratio", 0.0) > 1 or one.get("message") for one in found):
            found = [
                measured(g, w, b, point.dtype) for g, w, b in zip(got, wanted, wide(), strict=True)
            ]
            self._rounding(found, got, wanted, expected, point, f or self.counted)
        for i, (what, one) in enumerate(zip(names, found, strict=True)):
            if ("forward" if i < len(ys) else "vjp") in parts:
                yield {"what": what, "dtype": point.dtype, **one}

    def _rounding(
        self, found: list[Any], got: Any, wanted: Any, expected: Wanted, point: Point, f: Any
    ) -> None:
        """Failures that are rounding pass: where the reference is 0, or rounding beside what went
        in, and its bound therefore none; and beyond a bound by as much as JUST says."""
        inputs, dys = (
            max(_largest(a) for a in arrays if a is not None and a.dtype.kind == "f")
            for arrays in (expected.inputs, expected.dys)
        )
        sizes = {}
        for k, one in enumerate(found):
            ratio, want = one.get("ratio", 0.0), _largest(wanted[k])
            size = inputs if k < len(expected.dys) else dys * max(inputs, 1.0) ** 2
            if ratio > 1 and not one.get("message"):
                off, nothing = _largest(got[k] - wanted[k]), want <= WIDEST * UNIT["float64"] * size
                # A reference that saturates (1 - y^2) to exactly 0 says nothing below a roundoff;
                # one that is small says what it is.
                saturated = want == 0 and inputs >= 1 and k >= len(expected.dys)
                least = UNIT["float64"] * dys * inputs
                if saturated and off <= least and point.dtype == "float64":
                    found[k] = {"eps": 0.0, "ratio": off / least}
                elif nothing and point.gross:
                    found[k] = {"ratio": off / (point.gross * size)}
                elif nothing:
                    sizes[k] = size
                elif ratio <= JUST.get(point.dtype, 1.0):
                    sizes[k] = want
        sizes = {
            k: size
            for k, size in sizes.items()
            if not too_much(got[k], wanted[k], point.dtype, size)
        }
        if not sizes:
            return
        other = "float32" if point.dtype == "float64" else "float64"
        runs = []
        for arrays, given in near(expected.inputs, expected.dys):
            ys, grads = self.host.pull(f, arrays, point.options, given, other, self.asked)
            runs.append([*ys, *(g for g, want in zip(grads, self.asked, strict=True) if want)])
        for k, size in sizes.items():
            many = runs if size != _largest(wanted[k]) else runs[:1]
            ratio = vanishes(got[k], [r[k] for r in many], wanted[k], point.dtype, size)
            found[k] = {"eps": 0.0, "ratio": ratio} if ratio <= 1 else found[k]


def _largest(values: Any) -> float:
    return float(np.abs(np.where(np.isfinite(values), values, 0.0)).max(initial=0.0))
