"""One rule under trial: its reference, its points, and the comparison at a point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpx.verify.bound import UNIT
from bpx.verify.candidate.budget import Purse
from bpx.verify.candidate.cotangents import KINDS
from bpx.verify.candidate.expected import EVALUATED, Wanted, expected
from bpx.verify.candidate.measure import WIDEST, largest, measured
from bpx.verify.candidate.plan import NotRun
from bpx.verify.candidate.point import GENERIC, Point
from bpx.verify.candidate.points import Points
from bpx.verify.candidate.rounding import near, too_much, vanishes
from bpx.verify.draw import Draw

# Of a bound: beyond it rounding is a failure, too. In float64 it is none up to WIDEST u of the
# largest element; whether a rule loses digits is judged in float32, at points of their own.
JUST = {"float64": np.inf, "float32": 4.0}
KEPT = 16  # of what is expected at generic points


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
    purse: Purse = field(default_factory=Purse)
    guesses: dict[str, Any] = field(default_factory=dict)  # seconds of steps, by sizes
    _last: tuple[Point, list[Any]] | None = None
    _expected: dict[Any, tuple[Point, Wanted]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counted = Counted(self.f)

    def inputs(self, point: Point) -> list[Any]:
        """The arrays as the point's dtype sees them."""
        return [
            self.host.rounded(a, point.dtype) if a.dtype.kind == "f" else np.array(a)
            for a in point.arrays
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

    def like(self, point: Point) -> list[Any]:
        """The reference's outputs at a point, or what is like them, kept for who asks next. Raises
        NotRun where gradients too would be beyond the budget."""
        last, self._last = self._last, None
        if last is not None and last[0] is point:
            return last[1]
        since = self.purse.spent
        found = list(self.reference.like(self.inputs(point), point.options))
        if point.family != GENERIC:
            self.purse.afford(2 * EVALUATED * (self.purse.spent - since))
        self._last = point, found
        return found

    def reference_at(self, point: Point, kind: str = "random", only: int | None = None) -> Wanted:
        """What is expected at a point. `only` is the one output that gets an incoming gradient;
        the others get zeros. At a generic point, where many checks look, it is kept."""
        key = point.name, kind, only
        kept = self._expected.get(key)
        if kept is None or kept[0] is not point:
            kept = point, expected(self, point, kind, only)
            if point.family == GENERIC and len(self._expected) < KEPT:
                self._expected[key] = kept
        return kept[1]

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
        at = self.reference_at(point, kind, only)
        inputs, dys, wanted, bounds, wide = at
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
            self._rounding(found, got, wanted, at, point, f or self.counted)
        for i, (what, one) in enumerate(zip(names, found, strict=True)):
            if ("forward" if i < len(ys) else "vjp") in parts:
                yield {"what": what, "dtype": point.dtype, **one}

    def _rounding(
        self, found: list[Any], got: Any, wanted: Any, at: Wanted, point: Point, f: Any
    ) -> None:
        """Failures that are rounding pass: where the reference is 0, or rounding beside what went
        in, and its bound therefore none; and beyond a bound by as much as JUST says."""
        inputs, dys = (
            max(largest(a) for a in arrays if a is not None and a.dtype.kind == "f")
            for arrays in (at.inputs, at.dys)
        )
        sizes = {}
        for k, one in enumerate(found):
            ratio, want = one.get("ratio", 0.0), largest(wanted[k])
            size = inputs if k < len(at.dys) else dys * max(inputs, 1.0) ** 2
            if ratio > 1 and not one.get("message"):
                off, nothing = largest(got[k] - wanted[k]), want <= WIDEST * UNIT["float64"] * size
                # A reference that saturates (1 - y^2) to exactly 0 says nothing below a roundoff;
                # one that is small says what it is.
                saturated = want == 0 and inputs >= 1 and k >= len(at.dys)
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
        for arrays, given in near(at.inputs, at.dys):
            ys, grads = self.host.pull(f, arrays, point.options, given, other, self.asked)
            runs.append([*ys, *(g for g, want in zip(grads, self.asked, strict=True) if want)])
        for k, size in sizes.items():
            many = runs if size != largest(wanted[k]) else runs[:1]
            ratio = vanishes(got[k], [r[k] for r in many], wanted[k], point.dtype, size)
            found[k] = {"eps": 0.0, "ratio": ratio} if ratio <= 1 else found[k]
