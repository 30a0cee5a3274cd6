"""The legs: what is compared with what, for one entry in one framework.

spec       spec.backward with the complex step (or central differences) of spec.forward; for a
           surrogate, that the two differ
oracle     spec.forward with the framework's own operation
forward    rule.forward with spec.forward, and its residuals with the spec's
backward   rule.backward, through the engine, with spec.backward
autodiff   rule.backward with the framework's autodiff of the rule's plain forward
own        rule.backward with the framework's autodiff of its own operation
fd         the framework's own finite-difference checker
structure  everything that is not arithmetic: the runner's `checks`

A surrogate's backward is its own definition: `autodiff` and `fd`, which know the derivative of
forward alone, are not run for it. `own` is, where an oracle has the same backward by other means.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from bpx.rule import Rule
from bpx.spec import Case, Op
from bpx.verify.calculus import ANALYTIC, DIFFERENCED, gradient
from bpx.verify.finding import Finding, compare
from bpx.verify.reference import Reference, cases, cotangent
from bpx.verify.runner import Runner
from bpx.verify.surrogate import not_the_derivative, verify_surrogate

NOT_APPLICABLE = "not applicable"  # what a check returns that has nothing to look at by design

LEGS = ("spec", "oracle", "forward", "backward", "autodiff", "own", "fd", "structure")


def verify_spec(spec: Op) -> Iterator[Finding]:
    """Leg `spec`: needs no framework."""
    if spec.surrogate:
        yield from verify_surrogate(spec)
        return
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
            scale = max(float(np.abs(want).max(initial=0.0)), case.cancels) or 1.0
            eps, ratio, message = compare(
                grads[i], want, np.full(want.shape, limit * scale), "float64", case.cancels
            )
            yield found(f"d{arg.name}", eps=eps, ratio=ratio, message=message)


def verify_forward(rule: Rule, runner: Runner, kernel: str, dtype: str) -> Iterator[Finding]:
    """Leg `forward`: output and residuals of one kernel in one dtype."""
    spec = rule.spec
    for case in cases(spec):
        found = partial(Finding, spec.name, runner.name, kernel, "forward", case.name, dtype=dtype)
        if reason := runner.refusal(rule, kernel, case, dtype):
            yield found("y", skipped=reason)
            continue
        reference = Reference(spec, case, runner, dtype)
        refs, limits = reference.forward_reference()
        y, residuals = runner.value(rule, kernel, reference.case, dtype)
        if len(residuals) != len(spec.residuals):
            yield found(
                "residuals", message=f"{len(residuals)} of them, expected {len(spec.residuals)}"
            )
            continue
        for what, got, want, limit in zip(
            ("y", *spec.residuals), (y, *residuals), refs, limits, strict=True
        ):
            eps, ratio, message = compare(got, want, limit, dtype, case.cancels)
            yield found(what, eps=eps, ratio=ratio, message=message)


def verify_backward(
    rule: Rule, runner: Runner, kernel: str, dtype: str, own: bool = True
) -> Iterator[Finding]:
    """Legs `backward`, `autodiff` and, where it is asked for, `own`: every gradient of one kernel
    in one dtype."""
    spec = rule.spec
    for case in cases(spec):
        found = partial(Finding, spec.name, runner.name, kernel, case=case.name, dtype=dtype)
        if reason := runner.refusal(rule, kernel, case, dtype):
            yield found(leg="backward", what="gradients", skipped=reason)
            continue
        reference = Reference(spec, case, runner, dtype)
        refs, limits = reference.backward_reference()
        got = runner.gradient(rule, kernel, reference.case, reference.dy, dtype)
        yield from _gradients(partial(found, leg="backward"), reference, got, refs, limits)
        if dtype != "float64":
            continue
        if case.kink:
            yield found(leg="autodiff", what="gradients", skipped=f"kink: {case.kink}")
            continue
        limits = reference.of_the_largest(refs, limits)
        if spec.surrogate:
            yield found(leg="autodiff", what="gradients", skipped=not_the_derivative(spec))
        else:
            want = runner.autodiff(rule.plain_value, rule, reference.case, reference.dy)
            yield from _gradients(partial(found, leg="autodiff"), reference, got, want, limits)
        if not own:
            continue
        oracle, differs = runner.oracles.get(spec.name), runner.differs.get(spec.name, {})
        if oracle is None or case.name in differs:
            none = not_the_derivative(spec) or f"{runner.name} has no such operation"
            yield found(leg="own", what="gradients", skipped=differs.get(case.name, none))
            continue
        want = runner.autodiff(oracle, rule, reference.case, reference.dy)
        yield from _gradients(partial(found, leg="own"), reference, got, want, limits, missing=True)


def _gradients(
    found: Any,
    reference: Reference,
    got: Any,
    want: Any,
    limits: Any,
    missing: bool = False,
) -> Iterator[Finding]:
    spec, dtype, cancels = reference.spec, reference.dtype, reference.case.cancels
    if len(got) != len(spec.args):
        yield found(what="gradients", message=f"{len(got)} of them, expected {len(spec.args)}")
        return
    for arg, g, w, limit in zip(spec.args, got, want, limits, strict=True):
        if missing and w is None and g is not None:
            yield found(what=f"d{arg.name}", skipped="the framework's own operation has none")
            continue
        eps, ratio, message = compare(g, w, limit, dtype, cancels)
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
        refs, limits = Reference(spec, case, runner, "float64").forward_reference()
        got = runner.oracle_value(oracle, rule, case)
        eps, ratio, message = compare(got, refs[0], limits[0], "float64", case.cancels)
        yield found("y", eps=eps, ratio=ratio, message=message)


def generic(spec: Op) -> Case:
    """The first case: generic by construction, the one structural checks use."""
    return cases(spec)[0]


def verify_fd(rule: Rule, runner: Runner, kernel: str) -> Iterator[Finding]:
    """Leg `fd`: the framework's own finite differences on the generic case."""
    case = generic(rule.spec)
    found = partial(Finding, rule.spec.name, runner.name, kernel, "fd", case.name, "gradients")
    if rule.spec.surrogate:
        yield found(skipped=not_the_derivative(rule.spec))
        return
    if reason := runner.refusal(rule, kernel, case, "float64"):
        yield found(skipped=reason)
        return
    yield found(message=runner.finite_differences(rule, kernel, case))


def asked_together(spec: Op, case: Case, n: int) -> list[tuple[int, ...]]:
    """Which of n gradients a check of "needs" asks for at once: every subset in the generic case;
    in the others each alone, and all but each."""
    every = case.name == generic(spec).name
    sizes = [size for size in range(1, n) if every or size in (1, n - 1)]
    return [chosen for size in sizes for chosen in combinations(range(n), size)]


def each_option_set(spec: Op) -> list[Case]:
    """The generic case, then the first case with a derivative of every other set of options and of
    arguments that are given."""
    found: dict[Any, Case] = {}
    for case in cases(spec):
        key = (repr(case.options), tuple(a is None for a in case.arrays.values()))
        plain = all(
            a is None or (np.size(a) and np.isfinite(a).all()) for a in case.arrays.values()
        )
        if not found or (plain and not case.kink):
            found.setdefault(key, case)
    return list(found.values())


def verify_structure(rule: Rule, runner: Runner, kernel: str) -> Iterator[Finding]:
    """Leg `structure`: each of the runner's checks on the generic case, those that depend on
    options on a case of every other set of options (of one where the kernel is interpreted), those
    of every case on all with elements."""
    sets = [case.name for case in each_option_set(rule.spec)]
    if runner.interprets(kernel):
        sets = sets[:2]
    for i, case in enumerate(cases(rule.spec)):
        full = all(a is None or np.size(a) for a in case.arrays.values())
        names = [
            n
            for n in runner.checks
            if not i
            or (n in runner.option_checks and case.name in sets)
            or (n in runner.case_checks and full)
        ]
        yield from _structure(rule, runner, kernel, case, names)


def _structure(
    rule: Rule, runner: Runner, kernel: str, case: Case, names: list[str]
) -> Iterator[Finding]:
    dtype = "float64"
    reason = runner.refusal(rule, kernel, case, dtype)
    if reason:
        dtype = "float32"
        reason = runner.refusal(rule, kernel, case, dtype)
    for name in names:
        found = partial(
            Finding, rule.spec.name, runner.name, kernel, "structure", case.name, name, dtype
        )
        if reason:
            yield found(skipped=reason)
            continue
        try:
            skipped = runner.checks[name](runner, rule, kernel, case, dtype)
        except AssertionError as error:
            yield found(message=str(error) or "failed")
        except Exception as error:
            yield found(message=f"{type(error).__name__}: {error}")
        else:
            if skipped != NOT_APPLICABLE:
                yield found(skipped=skipped or "")
