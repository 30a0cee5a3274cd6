"""Leg `spec` for an entry whose backward differs from the derivative on purpose.

There is nothing to compare its backward with. What is checked instead is that it does differ: an
entry marked surrogate that equals the derivative would escape every check against calculus.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from bpx.spec import Op
from bpx.verify.calculus import ANALYTIC, DIFFERENCED, gradient
from bpx.verify.finding import Finding, compare
from bpx.verify.reference import cases, cotangent

REFUSED = "marked surrogate, but equals the derivative"


def not_the_derivative(spec: Op) -> str:
    """Why a leg that knows the derivative alone is not run; "" where the entry is one."""
    return f"surrogate: {spec.surrogate}" if spec.surrogate else ""


def verify_surrogate(spec: Op) -> Iterator[Finding]:
    """What is left out, case by case, and whether the mark is deserved on the generic case."""
    for i, case in enumerate(cases(spec)):
        found = partial(Finding, spec.name, "numpy", "spec", "spec", case.name)
        yield found("gradients", skipped=not_the_derivative(spec))
        dy, arrays = cotangent(spec, case), list(case.arrays.values())
        with np.errstate(all="ignore"):
            grads = spec.backward(dy, *arrays, **case.options)
        floats = []
        for at, (arg, a) in enumerate(zip(spec.args, arrays, strict=True)):
            if arg.kind == "float" and a is not None:
                floats.append(at)
            else:
                yield found(f"d{arg.name}", message="" if grads[at] is None else "is not None")
        if i:
            continue
        limit = ANALYTIC if spec.analytic else DIFFERENCED
        forward = partial(spec.forward, **case.options)
        for at in floats:
            want = gradient(forward, arrays, at, dy, spec.analytic)
            scale = float(np.abs(want).max(initial=0.0)) or 1.0
            bounds = np.full(want.shape, limit * scale)
            _, ratio, message = compare(grads[at], want, bounds, "float64")
            if message or ratio > 1.0:
                what = f"d{spec.args[at].name}" if message else "surrogate"
                yield found(what, message=message)
                break
        else:
            yield found("surrogate", message=REFUSED)
