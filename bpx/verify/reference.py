"""What a rule is compared with: the spec in float64 at the inputs a dtype sees, and the bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bpx.spec import Case, Op
from bpx.verify.bound import UNIT, bound, movement
from bpx.verify.draw import Draw
from bpx.verify.runner import Rounds


def cases(spec: Op) -> list[Case]:
    """The cases of an entry, options completed, arguments in the order of the record."""
    found = []
    for c in spec.cases(Draw(spec.name)):
        arrays = {a.name: c.arrays.get(a.name) for a in spec.args}
        found.append(Case(c.name, arrays, spec.complete(c.options), c.kink, c.constant, c.cancels))
    return found


def cotangent(spec: Op, case: Case) -> Any:
    """A generic incoming gradient: normal values, different from every input."""
    shape = np.shape(value(spec, case)[0])
    return np.asarray(Draw(f"dy {spec.name} {case.name}", 1)(*shape))


def value(spec: Op, case: Case) -> Any:
    with np.errstate(all="ignore"):
        return spec.forward(*case.arrays.values(), **case.options)


class Reference:
    """One case in one dtype: inputs as that dtype sees them, references and bounds in float64."""

    def __init__(self, spec: Op, case: Case, runner: Rounds, dtype: str) -> None:
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

    def of_the_largest(self, refs: list[Any], limits: list[Any]) -> list[Any]:
        """The bounds with rounding of the largest element allowed to all: what autodiff of a
        textbook formula is good for, whose tails an elementwise rule must do better than."""
        u = UNIT[self.dtype]
        return [
            None if r is None else limit + 8 * u * np.abs(r[np.isfinite(r)]).max(initial=0.0)
            for r, limit in zip(refs, limits, strict=True)
        ]

    def _reference(self, f: Any, arrays: list[Any]) -> tuple[list[Any], list[Any]]:
        with np.errstate(all="ignore"):
            refs = f(arrays)
        moved = movement(f, arrays, refs)
        limits = [
            bound(r, m, self.dtype, self.spec.elementwise, self.case.cancels)
            for r, m in zip(refs, moved, strict=True)
        ]
        return refs, limits
