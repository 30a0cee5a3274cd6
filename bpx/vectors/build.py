"""The vectors of one op: arrays under their keys, and what the manifest says of them.

Keys are <case>/<dtype>/<array>:

    inputs/<argument>      an argument; an absent one has no key
    dy                     the incoming gradient, generic and different from every input
    y                      the output
    residuals/<name>       what the specification keeps for backward
    gradients/<argument>   the gradient of sum(dy * y), or the entry's definition of it
    bounds/<any of these>  how far a right result computed in dtype may lie from it, elementwise

Inputs and dy are rounded to dtype and stored in it. What is expected is computed in float64 from
the rounded values and stored in float64: rounding it to float32 would take half a unit of the
bound away from whoever is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx.spec import Arg, Case, Op
from bpx.verify.reference import Reference, cases

DTYPES = ("float64", "float32")
BOUNDS = "bounds/"


@dataclass(frozen=True)
class Vectors:
    """One entry's arrays by key, and its record in the manifest, without file and hash."""

    arrays: dict[str, Any]
    about: dict[str, Any]


class Rounding:
    """To a dtype and back to float64."""

    def rounded(self, array: Any, dtype: str) -> Any:
        """Float64 values that the dtype holds."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(array).astype(dtype).astype(np.float64)


def build(spec: Op) -> Vectors:
    """The vectors of one entry in every dtype."""
    arrays: dict[str, Any] = {}
    found = []
    for case in cases(spec):
        assert "/" not in case.name, (
            f"{spec.name}: case {case.name!r} has a slash, which parts keys"
        )
        limits = {}
        for dtype in DTYPES:
            named = dict(_arrays(Reference(spec, case, Rounding(), dtype)))
            arrays |= {f"{case.name}/{dtype}/{key}": a for key, a in named.items()}
            limits[dtype] = tolerances(named)
        found.append(_case(spec, case, limits))
    about = {
        "kind": "op",
        "arguments": [_argument(a) for a in spec.args],
        "residuals": {k: d for k, d in spec.residuals.items() if k != "y"},
        "elementwise": spec.elementwise,
        "kinks": spec.kinks,
        "surrogate": spec.surrogate,
        "cases": found,
    }
    return Vectors(arrays, about)


def _arrays(reference: Reference) -> Iterator[tuple[str, Any]]:
    """The arrays of one case in one dtype, by the part of their keys behind the dtype."""
    spec, dtype = reference.spec, reference.dtype
    for arg in spec.args:
        if (a := reference.case.arrays[arg.name]) is not None:
            yield f"inputs/{arg.name}", stored(a, dtype if arg.kind == "float" else None)
    yield "dy", stored(reference.dy, dtype)
    names = ["y", *(f"residuals/{k}" for k in spec.residuals)]
    forward = zip(names, *reference.forward_reference(), strict=True)
    names = [f"gradients/{a.name}" for a in spec.args]
    backward = zip(names, *reference.backward_reference(), strict=True)
    for name, want, limit in (*forward, *backward):
        if want is not None and name != "residuals/y":
            yield name, stored(want)
            yield f"{BOUNDS}{name}", np.broadcast_to(stored(limit, "float64"), np.shape(want))


def stored(array: Any, dtype: str | None = None) -> Any:
    """Little endian, in this dtype or in its own."""
    a = np.asarray(array)
    a = a if dtype is None else a.astype(dtype)
    return a.astype(a.dtype.newbyteorder("<"))


def tolerances(named: dict[str, Any]) -> dict[str, float]:
    """The largest bound of each array, for the manifest."""
    return {
        key.removeprefix(BOUNDS): float(np.max(a, initial=0.0))
        for key, a in named.items()
        if key.startswith(BOUNDS)
    }


def _argument(arg: Arg) -> dict[str, Any]:
    return {
        "name": arg.name,
        "dims": arg.dims,
        "kind": arg.kind,
        "optional": arg.optional,
        "below": arg.below,
        "ignore": arg.ignore,
        "domain": plain(arg.domain),
    }


def _case(spec: Op, case: Case, limits: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {
        "name": case.name,
        "options": {k: plain(v) for k, v in case.options.items()},
        "absent": [k for k, a in case.arrays.items() if a is None],
        "out": spec.out_dims(case.options),
        "kink": case.kink,
        "constant": case.constant,
        "cancels": case.cancels,
        "tolerances": limits,
    }


def plain(value: Any) -> Any:
    """For JSON: tuples become lists, and what is no number there the texts "inf", "-inf", "nan"."""
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
