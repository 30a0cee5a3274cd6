"""verify_rule: anyone's rule, in PyTorch or in JAX, against the best reference there is.

from bpx.verify import Float, verify_rule

report = verify_rule(my_rule, args=[Float("N", "D"), Float("D")], ref=my_plain_function)
report.check()
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from bpx.spec import Op, SpecError, one_of, require
from bpx.verify.candidate import arithmetic, drawn, guards
from bpx.verify.candidate import budget as spend
from bpx.verify.candidate.arguments import Argument, Float
from bpx.verify.candidate.entries import of_entry
from bpx.verify.candidate.framework import framework_of
from bpx.verify.candidate.levels import Defined, Differences, Function, Specification
from bpx.verify.candidate.plan import Check, Outcome, run
from bpx.verify.candidate.points import Points
from bpx.verify.candidate.report import CandidateReport
from bpx.verify.candidate.trial import Trial
from bpx.verify.finding import Finding

DTYPES = ("float32", "bfloat16", "float16")
SECONDS = 20.0  # a check may take this long before it counts as hanging
HANGS = 2  # checks that hang before the rest is left out


def verify_rule(
    rule: Callable[..., Any],
    args: Sequence[Argument] | None = None,
    *,
    spec: Any = None,
    ref: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
    twice: bool | None = None,
    surrogate: Callable[..., Any] | bool | None = None,
    linear: bool = True,
    kinks: str = "reference",
    nondeterministic: bool = False,
    vmap: bool = True,
    dtypes: Sequence[str] = DTYPES,
    waivers: Mapping[str, str] | None = None,
    framework: str | None = None,
    quick: bool = False,
    full: bool = False,
    seed: int = 0,
    budget: float | None = None,
    only: str | Sequence[str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> CandidateReport:
    """Check a rule. Returns the report; `.check()` raises AssertionError with what is wrong.

    rule        a callable on torch tensors or JAX arrays with a derivative of its own: the apply of
                an autograd.Function or the class itself, a custom_op, a module, a custom_vjp, a
                custom_jvp, or a plain function; returns an array or a tuple of them
    args        one Float, Index or Mask for each argument, in order; left out for a rule of bpx,
                or where `spec` is an entry of it: then arguments, sizes and options are the entry's
    spec        level A: NumPy (forward(*args), backward(dy, *args)), an object with both, or an
                entry of bpx
    ref         level B: the same function in plain operations of the framework
                without either, level C: differences of the rule's own forward
    options     keyword arguments: a value, or a list of the values to try
    sizes       dim -> the sizes it may have, where not every size is possible
    twice       True: second derivatives must be right; False: must raise; None: either
    surrogate   for a rule that differs from the derivative on purpose: its definition
                surrogate(dy, *args) -> gradients in plain operations; or True with `spec`, whose
                backward is the definition
    linear      False for a surrogate whose backward is not linear in dy
    kinks       "reference": the reference's convention holds at kinks; "free": any does
    nondeterministic   True: two runs may differ by rounding
    waivers     check id, or its beginning -> why a failure there is accepted; listed in the report
    framework   "torch" or "jax"; found out from the rule where it can be
    quick       the most telling checks only; `full`: more seeds, more sizes, compilation, points
                drawn by Hypothesis where it is installed
    budget      seconds of this process. Checks that do not fit are left out and named, after some
                of every family; what is left goes to more seeds. None: 2 for torch, 5 for JAX, 0.3
                if quick, and nothing is left out if full, or if checks are chosen with only
    only        run only the check with this id (family::name), or these families

    Raises SpecError where the call itself does not fit.
    """
    trial = prepare(
        rule, args, spec=spec, ref=ref, options=options, sizes=sizes, twice=twice,
        surrogate=surrogate, linear=linear, kinks=kinks, nondeterministic=nondeterministic,
        vmap=vmap, dtypes=dtypes, waivers=waivers, framework=framework, seed=seed,
    )  # fmt: skip
    with spend.old_garbage_kept():
        purse = spend.Purse(compiles=trial.host.few)  # what was imported by now is not the rule's
        planned = plan(trial, quick=quick, full=full)
        if only is not None:
            wanted = (only,) if isinstance(only, str) else tuple(only)
            planned = [c for c in planned if c.id in wanted or c.family in wanted]
            require(bool(planned), f"verify_rule: only is {only!r}, expected a check of the plan")
        purse.budget = spend.seconds(trial.host.name, budget, quick, full or only is not None)
        more = budget is not None and math.isfinite(budget)
        return judge(trial, planned, progress, purse, seeds=more)


def plan(
    trial: Trial, *, quick: bool = False, full: bool = False, draw: bool = False
) -> list[Check]:
    """Every check that will be run, in order; ids are unique and known before anything runs.
    `draw` has Hypothesis draw points, as `full` does."""
    found = [*guards.checks(trial), *arithmetic.checks(trial, quick, full)]
    if full or (draw and not quick):
        examples = drawn.MANY if full else drawn.EXAMPLES
        found.append(Check("drawn", "hypothesis", partial(drawn.run, trial, examples)))
    found += trial.host.checks(trial, quick, full)
    seen: dict[str, int] = {}
    unique = []
    for check in found:
        seen[check.id] = n = seen.get(check.id, 0) + 1
        unique.append(check if n == 1 else replace(check, name=f"{check.name} {n}"))
    return unique


def judge(
    trial: Trial,
    planned: Sequence[Check],
    progress: Callable[[int, int, str], None] | None = None,
    purse: spend.Purse | None = None,
    limit: float = SECONDS,
    seeds: bool = False,
) -> CandidateReport:
    """Run the checks, as many as the purse holds, then `seeds` for what is left in it. A check
    that takes more than `limit` seconds hangs."""
    found = partial(Finding, trial.name, trial.host.name, "yours")
    made: dict[int, Outcome] = {}
    hanging, start, purse = 0, time.perf_counter(), purse or spend.Purse()
    trial.purse = purse  # for checks that ask what is left
    for k, at in enumerate(spend.turns(planned)):
        check = planned[at]
        if progress is not None:
            progress(k, len(planned), check.id)
        why = "the rule hangs" if hanging >= HANGS else ""
        if not why and not purse.holds(check):
            why = spend.told(purse.budget)
        if why:
            skipped = found(leg=check.family, case=check.name, what="", skipped=why)
            made[at] = Outcome(check, [skipped], 0.0)
            continue
        before = purse.spent
        made[at] = run(check, found, limit)
        purse.pay(check, before)
        hanging += any("did not end within" in f.message for f in made[at].findings)
    outcomes, k = [made[at] for at in sorted(made)], 100
    while seeds and purse.spent < purse.budget and not hanging:
        point, k = trial.points.generic(k), k + 1
        outcomes.append(run(Check("vjp", point.name, partial(trial.compared, point)), found, limit))
    trial.purse = spend.Purse()  # what is looked at after the report is free
    printed = "".join(o.printed for o in outcomes)
    noisy = Check("behaviour", "prints nothing", lambda: ())
    text = f"prints {printed.strip()[:80]!r}" if printed else ""
    quiet = [found(leg="behaviour", case=noisy.name, what="output", message=text)]
    outcomes.append(Outcome(noisy, quiet, 0.0))
    told = dict.fromkeys(" ".join(text.split())[:120] for o in outcomes for text in o.warned)
    if told:
        warns = [
            found(leg="behaviour", case="warnings", what="", skipped=f"warns: {t}") for t in told
        ]
        outcomes.append(Outcome(Check("behaviour", "warnings", lambda: ()), warns, 0.0))
    return CandidateReport(trial, outcomes, time.perf_counter() - start, purse.spent)


def prepare(
    rule: Callable[..., Any],
    args: Sequence[Argument] | None = None,
    *,
    spec: Any = None,
    ref: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
    twice: bool | None = None,
    surrogate: Callable[..., Any] | bool | None = None,
    linear: bool = True,
    kinks: str = "reference",
    nondeterministic: bool = False,
    vmap: bool = True,
    dtypes: Sequence[str] = DTYPES,
    waivers: Mapping[str, str] | None = None,
    framework: str | None = None,
    seed: int = 0,
) -> Trial:
    """The trial of a rule: arguments of verify_rule, checked."""
    one_of("verify_rule", "kinks", kinks, ("reference", "free"))
    require(callable(rule), f"verify_rule: the rule is {rule!r}, expected a callable")
    if args is not None:
        wrong = [a for a in args if not isinstance(a, Argument)]
        require(
            not wrong, f"verify_rule: an argument is {wrong[:1]}, expected Float, Index or Mask"
        )
        require(
            any(isinstance(a, Float) and a.grad for a in args),
            "verify_rule: no argument has a gradient, expected a Float",
        )
    require(
        spec is None or ref is None,
        "verify_rule: both spec and ref are given, expected one of them",
    )
    for name in dtypes:
        one_of("verify_rule", "dtypes", name, ("float64", *DTYPES))
    chosen = framework or framework_of(rule)
    one_of("verify_rule", "framework", chosen, ("torch", "jax"))
    host = importlib.import_module(f"bpx_{chosen}.candidate.host").HOST
    more: dict[str, Any] = {
        "dtypes": tuple(dtypes), "twice": twice, "vmap": vmap, "nondeterministic": nondeterministic,
        "free_kinks": kinks == "free", "waivers": waivers or {},
    }  # fmt: skip
    if args is None:
        entry = getattr(rule, "spec", None) if spec is None else spec
        unused = ref is None and not options and not sizes and surrogate is None and linear
        if not (isinstance(entry, Op) and unused):
            raise SpecError(
                "verify_rule: args is None, expected a rule of bpx or spec=an entry of it, without "
                "ref, options, sizes, surrogate and linear, which are the entry's"
            )
        return of_entry(rule, entry, host, seed=seed, **more)
    f = host.callable_of(rule)
    asked = tuple(isinstance(a, Float) and a.grad for a in args)
    reference: Any
    if spec is not None:
        reference = Specification(spec)
    elif ref is not None:
        require(ref is not rule, "verify_rule: the reference is the rule itself")
        reference = Function(host, ref, asked)
    else:
        reference = Differences(host, f, asked)
    if callable(surrogate):
        reference = Defined(reference, host, surrogate)
    elif surrogate and spec is None:
        raise SpecError(
            "verify_rule: surrogate is True without a spec, "
            "expected surrogate=definition(dy, *args)"
        )
    return Trial(
        host.name_of(rule), host, f, reference, Points(args, options or {}, sizes or {}, seed),
        asked, surrogate=bool(surrogate), linear=linear, **more,
    )  # fmt: skip
