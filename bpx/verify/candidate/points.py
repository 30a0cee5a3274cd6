"""Where a rule is looked at: shapes, special values, scales, dtypes and options that can hurt.

Values are generic unless the point says otherwise: normal, distinct sizes, never ones or zeros.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bpx.verify.candidate.arguments import Argument, Float, Index, Integers, Sizes
from bpx.verify.candidate.pairs import pairwise
from bpx.verify.candidate.point import GENERIC, Point
from bpx.verify.candidate.special import FLOATS, INDICES
from bpx.verify.draw import Draw

SIZES = (3, 5, 2, 7, 4, 6)
SMALL = (0, 1, 2, 3, 7, 8, 9)
HUGE = 70_000  # beyond 16-bit integers, and beyond the largest float16
LONG = 4096  # where half-precision accumulation and 32-bit counts show
MOST = 1 << 23  # elements of all arguments together, where a size is long
SCALES = (1e-6, 1e-3, 30.0, 1e3)
OUTLIER = 1e4


class Points:
    """The points of one rule: `args` and `options` as they were declared, one seed."""

    def __init__(
        self,
        args: Sequence[Argument],
        options: Mapping[str, Any],
        sizes: Mapping[str, Sequence[int]],
        seed: int = 0,
    ) -> None:
        self.args, self.allowed, self.seed = tuple(args), sizes, seed
        self.choices = {k: list(v) if isinstance(v, list) else [v] for k, v in options.items()}
        self.first = {k: v[0] for k, v in self.choices.items()}
        self._generic: dict[int, Point] = {}
        self.names: list[str] = []
        for arg in args:
            below = [arg.below] if isinstance(arg, Index) and isinstance(arg.below, str) else []
            for name in (*arg.names(), *below):
                if name not in self.names:
                    self.names.append(name)

    def sizes(self, k: int = 0) -> Sizes:
        """Distinct sizes for the names, another set for every k."""
        found: Sizes = {}
        for i, name in enumerate(self.names):
            if name.startswith("*"):
                found[name] = ((3,), (2, 4), ())[k % 3]
            elif name in self.allowed:
                found[name] = self.allowed[name][k % len(self.allowed[name])]
            else:
                found[name] = SIZES[(i + k) % len(SIZES)]
        return found

    def arrays(self, sizes: Sizes, name: str = "") -> tuple[Any, ...]:
        draw = Draw(f"{name} {sorted(sizes.items())}", self.seed)
        found: list[Any] = []
        for arg in self.args:
            shape = arg.shape(sizes)
            if isinstance(arg, Float):
                found.append(np.asarray(arg.draw(draw, shape)))
            elif isinstance(arg, Index):
                limit = arg.limit(self.args, sizes)
                found.append(draw.index(max(limit, 1), *shape) if limit else np.zeros(shape, int))
            elif isinstance(arg, Integers):
                found.append(draw.index(arg.below, *shape).astype(arg.dtype))
            else:
                found.append(draw(*shape) > -0.5)
        return tuple(found)

    def fits(self, sizes: Sizes) -> bool:
        """Whether the arrays of these sizes may be made."""
        return sum(math.prod(a.shape(sizes)) for a in self.args) <= MOST

    def changed(self, base: Sizes, name: str, value: Any) -> Sizes | None:
        """The sizes with another one; None where these are no sizes."""
        sizes = {**base, name: value}
        return sizes if self.fits(sizes) else None

    def ones(self) -> Sizes | None:
        """Every size 1 that may be."""
        return {n: (1,) if n.startswith("*") else self.allowed.get(n, (1,))[0] for n in self.names}

    def for_options(self, options: Mapping[str, Any], k: int) -> Sizes | None:
        """Sizes to try these options at."""
        return self.sizes(k)

    def generic(self, k: int = 0) -> Point:
        """The same one for every check that asks for it."""
        if k not in self._generic:
            arrays = self.arrays(self.sizes(k), f"generic {k}")
            self._generic[k] = Point(GENERIC, f"generic {k}", arrays, self.first)
        return self._generic[k]

    def shapes(self, few: bool, full: bool = False) -> Iterator[Point]:
        """One size changed at a time; ranks of a starred name; one long reduction for each."""
        base = self.sizes()
        for name in self.names:
            if name.startswith("*"):
                values: list[Any] = [(), (1,), (2, 3, 2)] if not few else [(2, 3)]
            elif name in self.allowed:
                values = list(self.allowed[name])
            else:
                values = [1, 8] if few else list(SMALL)
                values += [] if few else [17, 33, 65, 129]
                values += [LONG + 1, 1025] if full else [LONG + 1] if not few else []
            for value in values:
                sizes = self.changed(base, name, value)
                if value == base[name] or sizes is None:
                    continue
                arrays = self.arrays(sizes, "shape")
                shown = "x".join(map(str, value)) or "none" if isinstance(value, tuple) else value
                empty = any(np.size(a) == 0 for a in arrays)
                yield Point(
                    "shape", f"{name}={shown}", arrays, self.first, empty=empty, sizes=sizes
                )
        if self.names and not few and (ones := self.ones()) is not None:
            yield Point("shape", "all=1", self.arrays(ones, "shape"), self.first)

    def values(self) -> Iterator[Point]:
        """Zeros of both signs, ties, ends of the domain, large values, constant rows; indices that
        repeat, are all ignored, or lie at the ends."""
        base = self.generic(1)
        for name, change in FLOATS.items():
            arrays = self._changed(base.arrays, change)
            if arrays is not None:
                kink = name != "large"
                yield replace(base, family="value", name=name, arrays=arrays, kink=kink)
        for name, of_index in INDICES.items():
            if any(isinstance(a, Index) for a in self.args):
                arrays = self._indexed(base.arrays, of_index, self.sizes(1))
                if arrays is not None:
                    yield replace(base, family="value", name=name, arrays=arrays)

    def _changed(self, arrays: Any, change: Any) -> tuple[Any, ...] | None:
        new, any_changed = [], False
        for arg, a in zip(self.args, arrays, strict=True):
            if isinstance(arg, Float) and a.size:
                b = change(arg, a)
                if b is not None and arg.inside(b):
                    any_changed = True
                    a = b
            new.append(a)
        return tuple(new) if any_changed else None

    def _indexed(self, arrays: Any, change: Any, sizes: Sizes) -> tuple[Any, ...] | None:
        new, any_changed = [], False
        for arg, a in zip(self.args, arrays, strict=True):
            if isinstance(arg, Index) and a.size:
                b = change(arg, a, arg.limit(self.args, sizes))
                if b is not None:
                    any_changed, a = True, b
            new.append(a)
        return tuple(new) if any_changed else None

    def scales(self) -> Iterator[Point]:
        """All floats of another size, and one outlier among ordinary values."""
        base = self.generic(0)
        for factor in SCALES:
            arrays = self._changed(base.arrays, lambda _, a, s=factor: a * s)
            if arrays is not None:
                yield replace(base, family="scale", name=f"x{factor:g}", arrays=arrays)
        arrays = self._changed(base.arrays, lambda _, a: 100 + 0.01 * a)
        if arrays is not None:
            yield replace(
                base, family="scale", name="offset 100 float32", arrays=arrays, dtype="float32"
            )
        for at, arg in enumerate(self.args):
            if isinstance(arg, Float) and base.arrays[at].size:
                a = base.arrays[at].copy()
                a.flat[a.size // 2] = OUTLIER
                if arg.inside(a):
                    arrays = (*base.arrays[:at], a, *base.arrays[at + 1 :])
                    yield replace(base, family="scale", name=f"outlier {at}", arrays=arrays)

    def dtypes(self, dtypes: Sequence[str], few: bool) -> Iterator[Point]:
        """Each dtype at a generic point and at a long reduction."""
        for dtype in dtypes:
            point = self.generic(0)
            yield replace(point, family="dtype", name=dtype, dtype=dtype)
            long = [n for n in self.names if not n.startswith("*") and n not in self.allowed]
            for name in long[: 1 if few else None]:
                sizes = self.changed(self.sizes(), name, LONG + 1)
                if sizes is not None:
                    arrays, shown = self.arrays(sizes, "dtype"), f"{dtype} {name}={LONG + 1}"
                    yield Point("dtype", shown, arrays, self.first, dtype, sizes=sizes)

    def part(self, point: Point, share: int) -> tuple[Any, ...]:
        """Arrays like a point's, with that share of what is long: an eighth for 8."""
        sizes = {
            n: v // share if isinstance(v, int) and v > 1000 else v for n, v in point.sizes.items()
        }
        return self.arrays(sizes, "middle")

    def wide(self) -> Iterator[Point]:
        """More elements than 16-bit offsets reach, and as many equal values in float16."""
        long = [n for n in self.names if not n.startswith("*") and n not in self.allowed]
        large = [(n, self.changed(self.sizes(2), n, HUGE + 1)) for n in long[-1:]]
        for name, sizes in ((n, s) for n, s in large if s is not None):
            arrays, shown = self.arrays(sizes, "wide"), f"{name}={HUGE + 1}"
            yield Point("width", shown, arrays, self.first, sizes=sizes, gross=1e-9)
            equal = self._changed(arrays, lambda _, a: np.full_like(a, a.flat[0]))
            if equal is not None:
                shown = f"float16 {name}={HUGE + 1} equal"
                yield Point("dtype", shown, equal, self.first, "float16", sizes=sizes, gross=0.05)

    def options(self) -> Iterator[Point]:
        """Every pair of option values at least once, at points of their own."""
        for chosen, k in itertools.product(pairwise(self.choices), (0, 1)):
            if (sizes := self.for_options(chosen, k)) is None:
                continue
            point = Point("options", "", self.arrays(sizes, f"generic {k}"), chosen)
            name = ",".join(f"{n}={v}" for n, v in chosen.items() if len(self.choices[n]) > 1)
            yield replace(point, name=name)
            for index in ("some ignored",) if k else ():
                arrays = self._indexed(point.arrays, INDICES[index], sizes)
                if arrays is not None:
                    yield replace(point, name=f"{name} {index}", arrays=arrays)
