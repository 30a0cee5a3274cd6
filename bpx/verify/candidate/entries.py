"""An entry of bpx as what a rule is tried on: its arguments, sizes that fit it, its options, and
its specification as the reference.

Sizes come from the entry's own cases and are changed as far as the entry takes it; a call that it
refuses is no point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bpx.spec import Arg, Case, Op, SpecError
from bpx.verify.candidate.arguments import Argument, Float, Index, Integers, Mask, Sizes
from bpx.verify.candidate.levels import Specification
from bpx.verify.candidate.point import Point
from bpx.verify.candidate.points import SIZES, Points
from bpx.verify.candidate.trial import Trial
from bpx.verify.reference import cases

DECLARED = 8  # values of a case at a kink that are declared
GAIN = 0.4
WORDS = {"bits": (256, "uint8"), "key": (1 << 32, "uint32")}


def given(spec: Op) -> list[Case]:
    """The generic case, then the one of the most dims for every other set of given arguments."""
    found: dict[tuple[bool, ...], list[Case]] = {}
    for case in cases(spec):
        arrays = [a for a in case.arrays.values() if a is not None]
        if all(np.size(a) and np.isfinite(a).all() for a in arrays) and not case.kink:
            found.setdefault(tuple(a is not None for a in case.arrays.values()), []).append(case)
    generic, *others = found.values()
    return [generic[0], *(max(some, key=_dims) for some in others)]


def _dims(case: Case) -> int:
    """Dims of more than one element."""
    return sum(n > 1 for a in case.arrays.values() if a is not None for n in np.shape(a))


def called(rule: Callable[..., Any], spec: Op, present: Sequence[bool]) -> Callable[..., Any]:
    """The rule as a function of the arguments that are given, with None for the others."""

    def call(*arrays: Any, **options: Any) -> Any:
        rest = iter(arrays)
        return rule(*(next(rest) if there else None for there in present), **options)

    call.__name__ = call.__qualname__ = spec.name
    tree = type(rule).__module__.partition(".")[0]
    if sorted(present, reverse=True) == list(present) and tree.startswith("bpx_"):
        call.__module__ = f"{tree}.{spec.path.replace('/', '.')}"  # where it can be had by name
    return call


class Entry(Specification):
    """Level A: the entry, for calls with some of its optional arguments."""

    def __init__(self, spec: Op, present: Sequence[bool]) -> None:
        super().__init__(spec)
        self._op, self._present = spec, tuple(present)

    def _padded(self, arrays: list[Any]) -> list[Any]:
        rest = iter(arrays)
        return [next(rest) if there else None for there in self._present]

    def _bind(self, arrays: Sequence[Any], options: Mapping[str, Any]) -> None:
        shapes = tuple(None if a is None else np.shape(a) for a in self._padded(list(arrays)))
        self._op.bind(shapes, self._options(options))

    def value(self, arrays: Any, options: Any, dtype: str = "float64") -> list[Any]:
        self._bind(arrays, options)
        return super().value(arrays, options, dtype)

    def vjp(self, arrays: Any, dys: Any, options: Any, dtype: str = "float64") -> list[Any]:
        self._bind(arrays, options)
        grads = self._every(arrays, dys, options, dtype)
        return [g for g, there in zip(grads, self._present, strict=True) if there]


class EntryPoints(Points):
    """Points of an entry for one set of given arguments."""

    def __init__(self, spec: Op, case: Case, seed: int = 0) -> None:
        self.spec = spec
        self.present = tuple(a is not None for a in case.arrays.values())
        args = [a for a, there in zip(spec.args, self.present, strict=True) if there]
        ignored = {a.ignore for a in spec.args}
        choices = {
            name: value if name in ignored else _distinct(spec, name, value)
            for name, value in case.options.items()
        }
        super().__init__([_argument(a, spec, case) for a in args], choices, {}, seed)
        self.names = list(dict.fromkeys(n for a in self.args for n in a.names()))
        shapes = tuple(None if a is None else np.shape(a) for a in case.arrays.values())
        bound = spec.bind(shapes, case.options)
        first = {n: bound[n.removeprefix("*")] for n in self.names}
        self._bundles = [self._complete(first, case.options) or {}]
        self._bundles = [self._moved(k) for k in range(3)]
        if 1 not in first.values():  # a size of one hides what is summed over
            self._bundles[0] = self._complete(first, case.options) or {}

    def arrays(self, sizes: Sizes, name: str = "") -> tuple[Any, ...]:
        """Matrices that are applied over and over get a gain below 1: with a larger one every
        rounding grows from step to step, and nothing can be compared."""
        given = [a.name for a, there in zip(self.spec.args, self.present, strict=True) if there]
        return tuple(
            _gained(a) if n.startswith("w_") else a
            for n, a in zip(given, super().arrays(sizes, name), strict=True)
        )

    def _complete(self, sizes: Sizes, options: Mapping[str, Any] | None = None) -> Sizes | None:
        """The sizes with those that the entry derives from them; None where it refuses them."""
        shapes = iter([a.shape({n: sizes[n] for n in a.names()}) for a in self.args])
        full = tuple(next(shapes) if there else None for there in self.present)
        try:
            bound = self.spec.bind(full, dict(self.first if options is None else options))
        except SpecError:
            return None
        return {**bound, **{n: sizes[n] for n in self.names}}

    def _moved(self, k: int) -> Sizes:
        """Other sizes, one name after the other, as far as the entry takes it."""
        found = self._bundles[0]
        for i, name in enumerate(self.names):
            if name.startswith("*"):
                value: Any = tuple(SIZES[(i + j + k) % 6] for j in range(len(found[name])))
            else:
                value = SIZES[(i + k) % 6]
            found = self.changed(found, name, value) or found
        return found

    def sizes(self, k: int = 0) -> Sizes:
        return dict(self._bundles[k % 3])

    def changed(self, base: Sizes, name: str, value: Any) -> Sizes | None:
        """One size changed; where it is refused alone, with every one that is equal to it, or a
        multiple of it."""
        alone = {n: base[n] for n in self.names} | {name: value}
        attempts = [alone]
        if not name.startswith("*") and base[name] > 1:
            plain = [n for n in self.names if not n.startswith("*")]
            equal = {n: value for n in plain if base[n] == base[name]}
            multiples = {
                n: base[n] // base[name] * value for n in plain if base[n] % base[name] == 0
            }
            attempts += [alone | equal, alone | multiples]
        elif name.startswith("*"):
            stars = [n for n in self.names if n.startswith("*") and base[n] == base[name]]
            attempts.append(alone | dict.fromkeys(stars, value))
        for sizes in attempts:
            full = self._complete(sizes)
            if full is not None and super().fits(full):
                return full
        return None

    def part(self, point: Point, share: int) -> tuple[Any, ...]:
        """Arrays like a point's, with that share of what is long: an eighth for 8."""
        long = {n: point.sizes[n] for n in self.names if not n.startswith("*")}
        longest = [n for n, v in long.items() if v > 1000]
        if not longest:
            return point.arrays
        name = min(longest, key=long.__getitem__)
        sizes = self.changed(self.sizes(), name, long[name] // share) or dict(point.sizes)
        return self.arrays(sizes, "middle")

    def fits(self, sizes: Sizes) -> bool:
        return self._complete(sizes) is not None and super().fits(sizes)

    def ones(self) -> Sizes | None:
        ones = {n: (1,) * len(b) if isinstance(b := self._bundles[0][n], tuple) else 1
                for n in self.names}  # fmt: skip
        return self._complete(ones)

    def for_options(self, options: Mapping[str, Any], k: int) -> Sizes | None:
        """Sizes that these options take."""
        for j in range(3):
            if (found := self._complete(self._bundles[(k + j) % 3], options)) is not None:
                return found
        for case in cases(self.spec):
            there = tuple(a is not None for a in case.arrays.values())
            if there != self.present or not all(np.size(a) for a in case.arrays.values()):
                continue
            shapes = tuple(None if a is None else np.shape(a) for a in case.arrays.values())
            try:
                bound = self.spec.bind(shapes, dict(options))
            except SpecError:
                continue
            return {**bound, **{n: bound[n.removeprefix("*")] for n in self.names}}
        return None


def _gained(w: Any) -> Any:
    """The matrix with GAIN for its largest singular value; about that where it is large."""
    small = 0 < w.size <= 10_000
    return w * (GAIN / (np.linalg.norm(w, 2) if small else sum(map(np.sqrt, w.shape)) + 1))


def _argument(arg: Arg, spec: Op, case: Case) -> Argument:
    if arg.kind == "mask":
        return Mask(arg.dims)
    if arg.kind in WORDS:
        below, dtype = WORDS[arg.kind]
        return Integers(arg.dims, below=below, dtype=dtype)
    if arg.kind == "index":
        ignore = case.options[arg.ignore] if arg.ignore else None
        return Index(arg.dims, below=arg.below, ignore=ignore)
    low, high = (None if np.isinf(end) else end for end in arg.domain or (np.inf, np.inf))
    at = [
        np.ravel(c.arrays[arg.name])
        for c in cases(spec)
        if c.kink and c.options == case.options and c.arrays[arg.name] is not None
    ]
    values = np.unique(np.concatenate(at))[:DECLARED].tolist() if at else ()
    return Float(arg.dims, low=low, high=high, at=values)


def _distinct(spec: Op, name: str, first: Any) -> list[Any]:
    """The values that an option has in the cases of an entry, the one of a case first."""
    values = [first, *(c.options[name] for c in cases(spec))]
    return list({repr(v): v for v in values}.values())


def of_entry(
    rule: Callable[..., Any], spec: Op, host: Any, case: Case | None = None, **how: Any
) -> Trial:
    """The trial of a function that is called as the entry is; `how` goes to Trial."""
    points = EntryPoints(spec, case or given(spec)[0], how.pop("seed", 0))
    asked = tuple(isinstance(a, Float) for a in points.args)
    return Trial(
        spec.name, host, called(rule, spec, points.present), Entry(spec, points.present), points,
        asked, surrogate=bool(spec.surrogate), linear=spec.linear, **how,
    )  # fmt: skip


def names(trial: Trial) -> list[str]:
    """Of the arguments that are given."""
    points = trial.points
    assert isinstance(points, EntryPoints)
    return [a.name for a, there in zip(points.spec.args, points.present, strict=True) if there]


def each(rule: Any, host: Any, **how: Any) -> Iterator[Trial]:
    """Trials of a rule of bpx, one for every set of arguments that may be given."""
    for case in given(rule.spec):
        yield of_entry(rule, rule.spec, host, case, **how)
