"""Bytes kept for backward: by a rule, by autodiff of its plain forward, by the framework's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bpx import _inputs
from bpx.rule import Rule
from bpx.spec import Case, Op
from bpx.verify.legs import generic
from bpx.verify.runner import Runner

Bytes = tuple[int, int]  # all that is kept; that without the arguments and the output


@dataclass(frozen=True)
class Kept:
    """One entry in one framework, float32, default options; `own` is None where there is none, and
    `autodiff` for a surrogate, whose gradient it would not give."""

    entry: str
    shapes: str
    rule: Bytes
    autodiff: Bytes | None
    own: Bytes | None

    def within(self) -> bool:
        """Whether the rule keeps no more than autodiff, in all and new; a surrogate, in all, no
        more than the framework's own expression with its gradient."""
        if self.autodiff is not None:
            return self.rule[0] <= self.autodiff[0] and self.rule[1] <= self.autodiff[1]
        return self.own is not None and self.rule[0] <= self.own[0]


def measured(runner: Runner, names: Iterable[str] = ()) -> Iterator[Kept]:
    """Every entry of a framework, or those named, at the shape of its first benchmark, or of its
    generic case where it has none."""
    for name in names or runner.rules:
        rule = runner.rules[name]
        case = _case(rule.spec)
        oracle = runner.oracles.get(name)

        def of(f: Callable[..., Any], rule: Rule = rule, case: Case = case) -> Bytes:
            return runner.saved_bytes(f, rule, case, "float32")

        with runner.using("plain"):
            yield Kept(
                name,
                _shapes(case),
                of(_called(rule)),
                None if rule.spec.surrogate else of(rule.plain_value),
                of(oracle) if oracle else None,
            )


def _called(rule: Any) -> Callable[..., Any]:
    return lambda *arrays, **options: rule(*arrays, **options)


def _case(spec: Op) -> Case:
    if not spec.bench:
        return generic(spec)
    row = spec.bench["small"]
    return Case("benchmark", _inputs.draw(spec, row)[0], _inputs.options(spec, row))


def _shapes(case: Case) -> str:
    given = {n: a.shape for n, a in case.arrays.items() if a is not None}
    return ", ".join(f"{n} ({' '.join(map(str, s))})" for n, s in given.items())
