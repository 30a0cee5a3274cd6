"""Layer-sequential unit variance: each layer's output scaled to variance 1, by a batch.

    w      orthonormal, for every layer                  rows or columns, the shorter side
    for each layer, the first to the last:
        for at most max_steps times:
            v = Var(output of the layer), over the batch and all of its units
            stop if |v - 1| <= tol
            w = w / sqrt(v)

The output is before the activation. Of a layer without a bias the variance is then 1 but for
rounding, in one step; where something else in the layer moves it, or max_steps is too few, the
report says what was reached.
Source: Mishkin, Matas 2016, "All you need is a good init", arXiv:1511.06422, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bpx.spec import require

Weights = dict[str, Any]


def lsuv(
    weights: Mapping[str, Any],
    outputs: Callable[[Weights], Mapping[str, Any]],
    *,
    tol: float = 0.1,
    max_steps: int = 10,
) -> tuple[Weights, dict[str, float]]:
    """(weights, the variance reached by each layer).

    weights   layer name -> weight, drawn orthonormal, in the order of the layers
    outputs   from such weights to layer name -> output of the batch

    Raises SpecError where a layer's output has a variance that is 0 or not finite.
    """
    check(tol, max_steps)
    found = dict(weights)
    reached = {}
    for layer in weights:
        v = variance(layer, outputs(found))
        for _ in range(max_steps):
            if abs(v - 1) <= tol:
                break
            found[layer] = found[layer] / math.sqrt(v)
            v = variance(layer, outputs(found))
        reached[layer] = v
    return found, reached


def check(tol: Any, max_steps: Any) -> None:
    """Raise for options that no call can have."""
    number = isinstance(tol, int | float) and math.isfinite(tol) and tol >= 0
    require(number, f"lsuv: tol is {tol!r}, expected a finite number at least 0")
    whole = isinstance(max_steps, int) and max_steps >= 1
    require(whole, f"lsuv: max_steps is {max_steps!r}, expected an int at least 1")


def variance(layer: str, outputs: Mapping[str, Any]) -> float:
    require(layer in outputs, f"lsuv: {layer!r} gives no output, expected one for each layer")
    return usable(layer, float(np.var(np.asarray(outputs[layer], np.float64))))


def usable(layer: str, v: float) -> float:
    """The variance, if a weight can be divided by its root."""
    require(
        math.isfinite(v) and v > 0,
        f"lsuv: the output of {layer!r} has variance {v}, expected a finite one above 0",
    )
    return v
