"""The legs: what is compared with what, for one entry in one framework.

    spec       spec.backward with the complex step (or central differences) of spec.forward
    oracle     spec.forward with the framework's own operation
    forward    rule.forward with spec.forward, and its residuals with the spec's
    backward   rule.backward, through the engine, with spec.backward
    autodiff   rule.backward with the framework's autodiff of the rule's plain forward
    own        rule.backward with the framework's autodiff of its own operation
    fd         the framework's own finite-difference checker
    structure  everything that is not arithmetic: the runner's `checks`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bpx.rule import Rule
from bpx.spec import Case, Op
from bpx.verify.bound import bound, movement
from bpx.verify.calculus import ANALYTIC, DIFFERENCED, gradient
from bpx.verify.draw import Draw
from bpx.verify.finding import Finding, compare
from bpx.verify.runner import Runner

NOT_APPLICABLE = "not applicable"  # what a check returns that has nothing to look at by design

LEGS = ("spec", "oracle", "forward", "backward", "autodiff", "own", "fd", "structure")


def cases(spec: Op) -> list[Case]:
    """The cases of an entry, options completed, arguments in the order of the record."""
    found = []
    for c in spec.cases(Draw(spec.name)):
        arrays = {a.name: c.arrays.get(a.name) for a in spec.args}
        found.append(
            Case(c.name, arrays, spec.complete(c.options), c.kink, c.constant, c.cancels)
        )
    return found


def cotangent(spec: Op, case: Case) -> Any:
    """A generic incoming gradient: normal values, different from every input."""
    shape = np.shape(value(spec, case)[0])
    return np.asarray(Draw(f"dy {spec.name} {case.name}", 1)(*shape))


def value(spec: Op, case: Case) -> Any:
    with np.errstate(all="ignore"):
        return spec.forward(*case.arrays.values(), **case.options)


def verify_spec(spec: Op) -> Iterator[Finding]:
    """Leg `spec`: needs no framework."""
    limit = ANALYTIC if spec.analytic else DIFFERENCED
    for case in cases(spec):
        found = partial(Finding, spec.name, "numpy", "spec", "spec", case.name)
        if case.kink:
            yield found("gradients", skipped=f"no derivative here: {case.kink}")
            continue
        dy, arrays = cotangent(spec, case), list(case.arrays.values())
        with np.errstate(all="ignore"):
            grads = spec.backward(dy, *arrays, **case.options)
        forward = partial(spec.forward, **case.options)
        for i, arg in enumerate(spec.args):
            if arg.kind != "float" or arrays[i] is None:
                yield found(f"d{arg.name}", message="" if grads[i] is None else "is not None")
                continue
            want = gradient(forward, arrays, i, dy, spec.analytic)
            scale = float(np.abs(want).max(initial=0.0)) or 1.0
            eps, ratio, message = compare(grads[i], want, np.full(want.shape, limit * scale), "float64")
            yield found(f"d{arg.name}", eps=eps, ratio=ratio, message=message)


class Bench:
    """One case in one dtype: inputs as that dtype sees them, references and bounds in float64."""

    def __init__(self, spec: Op, case: Case, runner: Runner, dtype: str) -> None:
        self.spec, self.dtype = spec, dtype
        arrays = {
            k: runner.rounded(a, dtype) if a is not None and np.asarray(a).dtype.kind == "f" else a
            for k, a in case.arrays.items()
        }
        self.case = replace(case, arrays=arrays)
        self.dy = runner.rounded(cotangent(spec, case), dtype)

    def forward_reference(self) -> tuple[list[Any], list[Any]]:
        """y and residuals, and the bound of each."""

        def f(arrays: Any) -> list[Any]:
            y, residuals = self.spec.forward(*arrays, **self.case.options)
            return [y, *residuals]

        return self._reference(f, list(self.case.arrays.values()))

    def backward_reference(self) -> tuple[list[Any], list[Any]]:
        """The gradients, None where there is none, and the bound of each."""
        present = [
            a.kind == "float" and x is not None
            for a, x in zip(self.spec.args, self.case.arrays.values(), strict=True)
        ]

        def f(arrays: Any) -> list[Any]:
            grads = self.spec.backward(*arrays, **self.case.options)
            return [g for g, p in zip(grads, present, strict=True) if p]

        refs, limits = self._reference(f, [self.dy, *self.case.arrays.values()])
        at = iter(range(len(refs)))
        places = [next(at) if p else None for p in present]
        return (
            [None if i is None else refs[i] for i in places],
            [None if i is None else limits[i] for i in places],
        )

    def _reference(self, f: Any, arrays: list[Any]) -> tuple[list[Any], list[Any]]:
        with np.errstate(all="ignore"):
            refs = f(arrays)
        moved = movement(f, arrays, refs)
        limits = [
            bound(r, m, self.dtype, self.spec.elementwise, self.case.cancels)
            for r, m in zip(refs, moved, strict=True)
        ]
        return refs, limits


def verify_forward(rule: Rule, runner: Runner, kernel: str, dtype: str) -> Iterator[Finding]:
    """Leg `forward`: output and residuals of one kernel in one dtype."""
    spec = rule.spec
    for case in cases(spec):
        found = partial(
            Finding, spec.name, runner.name, kernel, "forward", case.name, dtype=dtype
        )
        if reason := runner.refusal(rule, kernel, case, dtype):
            yield found("y", skipped=reason)
            continue
        bench = Bench(spec, case, runner, dtype)
        refs, limits = bench.forward_reference()
        y, residuals = runner.value(rule, kernel, bench.case, dtype)
        if len(residuals) != len(spec.residuals):
            yield found("residuals", message=f"{len(residuals)} of them, expected {len(spec.residuals)}")
            continue
        for what, got, want, limit in zip(
            ("y", *spec.residuals), (y, *residuals), refs, limits, strict=True
        ):
            eps, ratio, message = compare(got, want, limit, dtype)
            yield found(what, eps=eps, ratio=ratio, message=message)


def verify_backward(rule: Rule, runner: Runner, kernel: str, dtype: str) -> Iterator[Finding]:
    """Legs `backward`, `autodiff` and `own`: every gradient of one kernel in one dtype."""
    spec = rule.spec
    for case in cases(spec):
        found = partial(Finding, spec.name, runner.name, kernel, case=case.name, dtype=dtype)
        if reason := runner.refusal(rule, kernel, case, dtype):
            yield found(leg="backward", what="gradients", skipped=reason)
            continue
        bench = Bench(spec, case, runner, dtype)
        refs, limits = bench.backward_reference()
        got = runner.gradient(rule, kernel, bench.case, bench.dy, dtype)
        yield from _gradients(partial(found, leg="backward"), spec, got, refs, limits, dtype)
        if dtype != "float64":
            continue
        if case.kink:
            yield found(leg="autodiff", what="gradients", skipped=f"kink: {case.kink}")
            continue
        want = runner.autodiff(rule.plain_value, rule, bench.case, bench.dy)
        yield from _gradients(partial(found, leg="autodiff"), spec, got, want, limits, dtype)
        oracle, differs = runner.oracles.get(spec.name), runner.differs.get(spec.name, {})
        if oracle is None or case.name in differs:
            why = differs.get(case.name, f"{runner.name} has no such operation")
            yield found(leg="own", what="gradients", skipped=why)
            continue
        want = runner.autodiff(oracle, rule, bench.case, bench.dy)
        yield from _gradients(partial(found, leg="own"), spec, got, want, limits, dtype, missing=True)


def _gradients(
    found: Any, spec: Op, got: Any, want: Any, limits: Any, dtype: str, missing: bool = False
) -> Iterator[Finding]:
    if len(got) != len(spec.args):
        yield found(what="gradients", message=f"{len(got)} of them, expected {len(spec.args)}")
        return
    for arg, g, w, limit in zip(spec.args, got, want, limits, strict=True):
        if missing and w is None and g is not None:
            yield found(what=f"d{arg.name}", skipped="the framework's own operation has none")
            continue
        eps, ratio, message = compare(g, w, limit, dtype)
        yield found(what=f"d{arg.name}", eps=eps, ratio=ratio, message=message)


def verify_oracle(rule: Rule, runner: Runner) -> Iterator[Finding]:
    """Leg `oracle`: the spec's forward against the framework's own operation, float64."""
    spec = rule.spec
    oracle, differs = runner.oracles.get(spec.name), runner.differs.get(spec.name, {})
    for case in cases(spec):
        found = partial(Finding, spec.name, runner.name, "spec", "oracle", case.name)
        if oracle is None or "value" in differs.get(case.name, ""):
            why = differs.get(case.name, f"{runner.name} has no such operation")
            yield found("y", skipped=why)
            continue
        refs, limits = Bench(spec, case, runner, "float64").forward_reference()
        got = runner.oracle_value(oracle, rule, case)
        eps, ratio, message = compare(got, refs[0], limits[0], "float64")
        yield found("y", eps=eps, ratio=ratio, message=message)


def generic(spec: Op) -> Case:
    """The first case: generic by construction, the one structural checks use."""
    return cases(spec)[0]


def verify_fd(rule: Rule, runner: Runner, kernel: str) -> Iterator[Finding]:
    """Leg `fd`: the framework's own finite differences on the generic case."""
    case = generic(rule.spec)
    found = partial(Finding, rule.spec.name, runner.name, kernel, "fd", case.name, "gradients")
    if reason := runner.refusal(rule, kernel, case, "float64"):
        yield found(skipped=reason)
        return
    yield found(message=runner.finite_differences(rule, kernel, case))


def verify_structure(rule: Rule, runner: Runner, kernel: str) -> Iterator[Finding]:
    """Leg `structure`: each of the runner's checks on the generic case."""
    case = generic(rule.spec)
    dtype = "float64"
    reason = runner.refusal(rule, kernel, case, dtype)
    if reason:
        dtype = "float32"
        reason = runner.refusal(rule, kernel, case, dtype)
    for name, check in runner.checks.items():
        found = partial(
            Finding, rule.spec.name, runner.name, kernel, "structure", case.name, name, dtype
        )
        if reason:
            yield found(skipped=reason)
            continue
        try:
            skipped = check(runner, rule, kernel, case, dtype)
        except AssertionError as error:
            yield found(message=str(error) or "failed")
        except Exception as error:
            yield found(message=f"{type(error).__name__}: {error}")
        else:
            if skipped != NOT_APPLICABLE:
                yield found(skipped=skipped or "")
