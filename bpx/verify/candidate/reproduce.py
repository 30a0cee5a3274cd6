"""A failure as a short script: shrunk, with literals, that fails with a plain assert.

Sizes go to 1, 2 or 3 and values to small numbers as long as the failure stays. The script imports
the framework and the rule, nothing of bpx; only checks that are no comparison at a point name the
kit.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bpx.verify.candidate.arguments import Float
from bpx.verify.candidate.cotangents import COTANGENTS
from bpx.verify.candidate.plan import NotRun
from bpx.verify.candidate.point import Point
from bpx.verify.candidate.trial import Trial
from bpx.verify.finding import Finding

AT_A_POINT = ("forward", "vjp", "cotangent", "shape", "value", "scale", "dtype", "options", "drawn")
MOST = 40  # elements written out; more are made by a formula
LINES = 15


def script(trial: Trial, finding: Finding) -> str:
    """A script that shows this failure, or one that runs this check alone."""
    if finding.leg in AT_A_POINT and (finding.ratio > 1 or "expected" in finding.message):
        point = _point(trial, finding)
        kind = finding.case if finding.leg == "cotangent" else "random"
        if point is not None:
            for smaller in _smaller(trial, point):
                failure = _fails(trial, smaller, kind, finding.what)
                if failure is not None:
                    return _text(trial, smaller, kind, *failure)
    return _by_check(trial, finding)


def _point(trial: Trial, finding: Finding) -> Point | None:
    """The point of a check, found by its name."""
    points, few = trial.points, trial.host.few
    if finding.leg in ("forward", "vjp") and finding.case.startswith("generic"):
        return points.generic(int(finding.case.split()[1]))
    if finding.leg == "cotangent":
        return points.generic(0) if finding.case in COTANGENTS else None
    every: dict[str, Callable[[], Iterable[Point]]] = {
        "shape": lambda: points.shapes(few, True),
        "value": points.values,
        "scale": points.scales,
        "dtype": lambda: points.dtypes(trial.dtypes, few),
        "options": points.options,
        "drawn": lambda: [p for p in (trial.drawn,) if p is not None],
    }
    found = every.get(finding.leg, tuple)()
    return next((p for p in found if p.name == finding.case), None)


def _smaller(trial: Trial, point: Point) -> Iterator[Point]:
    """The same point with fewer and rounder numbers, the simplest first, itself last."""
    points = trial.points
    for size in (1, 2, 3):
        sizes = {
            n: (size,) if n.startswith("*") else points.allowed.get(n, (size,))[0]
            for n in points.names
        }
        small = replace(point, arrays=points.arrays(sizes, "small"))
        for digits in (0, 1):
            yield replace(small, arrays=_rounded(trial, small.arrays, digits))
    formula = tuple(
        np.resize(np.sin(1.0 + np.arange(a.size)), a.shape) if a.dtype.kind == "f" else a
        for a in point.arrays
    )
    if sum(a.size for a in point.arrays) > MOST:
        yield replace(point, arrays=formula)
    else:
        for digits in (0, 1, 3):
            yield replace(point, arrays=_rounded(trial, point.arrays, digits))
    yield point


def _rounded(trial: Trial, arrays: Any, digits: int) -> tuple[Any, ...]:
    found = []
    for arg, a in zip(trial.points.args, arrays, strict=True):
        b = np.round(a, digits) + 0.0 if a.dtype.kind == "f" else a
        inside = not isinstance(arg, Float) or arg.inside(b)
        found.append(b if inside else a)
    return tuple(found)


def _fails(trial: Trial, point: Point, kind: str, what: str) -> Any:
    """(inputs, dys, index of the gradient or None for an output, place, got, want, limit)."""
    try:
        inputs, dys, wanted, _, wide = trial.reference_at(point, kind)
        ys, grads = trial.host.pull(trial.f, inputs, point.options, dys, point.dtype, trial.asked)
    except (NotRun, Exception):
        return None
    places = [i for i, want in enumerate(trial.asked) if want]
    got = [*ys, *(grads[i] for i in places)]
    names = ["output" if len(ys) == 1 else f"output {i}" for i in range(len(ys))]
    names += [f"gradient of argument {i}" for i in places]
    for k, (name, g, w, b) in enumerate(zip(names, got, wanted, wide(), strict=False)):
        if name != what or w.size == 0:
            continue
        g = np.zeros(w.shape) if g is None else np.asarray(g)
        if g.shape != w.shape:
            return None
        with np.errstate(all="ignore"):
            off = np.nan_to_num(np.abs(g - w) / b, nan=np.inf, posinf=np.inf)
        off = np.where(np.isfinite(w), off, 0.0)
        if off.max() <= 1:
            return None
        at = int(off.argmax())
        which = None if k < len(ys) else places[k - len(ys)]
        return inputs, dys, which, at, g.flat[at], w.flat[at], b.flat[at]
    return None


def _text(
    trial: Trial, point: Point, kind: str, inputs: Any, dys: Any, which: Any, at: int,
    got: Any, want: Any, limit: Any,
) -> str:  # fmt: skip
    torch = trial.host.name == "torch"
    made = [_literal(a, point.dtype, torch) for a in inputs]
    given = [_literal(d, point.dtype, torch) for d in dys if d is not None]
    lines = ["import numpy as np", "import torch" if torch else "import jax"]
    if not torch:
        lines[1:] = ["import jax", 'jax.config.update("jax_enable_x64", True)']
    lines.append(_import(trial))
    by_place = hasattr(trial.f, "__bpx_rule__")  # a Function takes options by position
    options = "".join(f", {v!r}" if by_place else f", {k}={v!r}" for k, v in point.options.items())
    lines.append(f"args = [{', '.join(made)}]")
    if which is None:
        lines.append(f"out = rule(*args{options})")
        first = "out[0]" if len(dys) > 1 else "out"
        value = f"{first}.detach().flatten()[{at}].item()" if torch else f"{first}.ravel()[{at}]"
        lines.append(f"got, want = float({value}), {float(want)!r}")
    else:
        lines.append(f"dy = [{', '.join(given)}]")
        if torch:
            floats = [i for i, a in enumerate(trial.asked) if a]
            lines.append(f"for i in {floats}: args[i].requires_grad_()")
            lines.append(f"out = rule(*args{options})")
            outs = "[o for o in out if o.requires_grad]" if len(dys) > 1 else "[out]"
            lines.append(
                f"grad = torch.autograd.grad({outs}, [args[{which}]], dy, allow_unused=True)[0]"
            )
            lines.append(f"got = 0.0 if grad is None else grad.flatten()[{at}].item()")
        else:
            lines.append(f"f = lambda a: rule(*args[:{which}], a, *args[{which + 1}:]{options})")
            lines.append(f"out, vjp = jax.vjp(f, args[{which}])")
            cotangent = "tuple(dy)" if len(dys) > 1 else "dy[0]"
            lines.append(f"got = float(vjp({cotangent})[0].ravel()[{at}])")
        lines.append(f"want = {float(want)!r}  # {trial.reference.level[:1]}: the reference")
    what = "output" if which is None else f"gradient of argument {which}"
    lines.append(f"limit = {float(limit):.3g}  # derived for {point.dtype}")
    lines.append(f'assert abs(got - want) <= limit, f"{what}[{at}]: {{got}}, expected {{want}}"')
    return "\n".join(lines) + "\n"


def _literal(a: Any, dtype: str, torch: bool) -> str:
    a = np.asarray(a)
    kind = dtype if a.dtype.kind == "f" else str(a.dtype)
    if a.size > MOST and a.dtype.kind == "f":
        values = f"np.resize(np.sin(1.0 + np.arange({a.size})), {a.shape})"
    elif a.size > MOST:
        values = f"np.resize({a.ravel()[:MOST].tolist()}, {a.shape})"
    else:
        values = f"np.reshape({_short(a.ravel().tolist())}, {a.shape})"
    values = values.replace("nan", "np.nan").replace("inf", "np.inf")
    if torch:
        return f"torch.tensor({values}).to(torch.{kind})"
    return f'jax.numpy.asarray({values}, "{kind}")'


def _short(values: list[Any]) -> str:
    return "[" + ", ".join(repr(v) for v in values) + "]"


def _import(trial: Trial) -> str:
    rule = getattr(trial.f, "__bpx_rule__", trial.f)
    owner = getattr(rule, "__self__", None)
    named = owner if isinstance(owner, type) else rule
    module, name = getattr(named, "__module__", None), getattr(named, "__qualname__", None)
    if not module or not name or "<" in name:
        return f"rule = ...  # {trial.name}, which has no importable name"
    if module == "__main__":
        file = inspect.getmodulename(getattr(inspect.getmodule(named), "__file__", "") or "")
        module = file or "__main__"
    top, _, rest = name.partition(".")
    call = f"{top}.{rest}" if rest else top
    apply = ".apply" if isinstance(owner, type) else ""
    return f"from {module} import {top}; rule = {call}{apply}"


def _by_check(trial: Trial, finding: Finding) -> str:
    """The one check, run by the kit."""
    from bpx.verify.candidate.report import identity

    args = ", ".join(map(repr, trial.points.args))
    lines = [
        "from bpx.verify import Float, Index, Mask, verify_rule",
        _import(trial),
        f"report = verify_rule(rule, [{args}], framework={trial.host.name!r},",
        f"                     only={identity(finding)!r})  # and the reference, if there was one",
        "assert not report.failures, report.failures[0]",
    ]
    return "\n".join(lines) + "\n"
