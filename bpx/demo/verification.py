"""Before training: every gradient of this very network, by hand, by autodiff and by the spec.

The limit for a parameter is measured, not chosen. The specification runs the network in float64
with every input of every layer, forward and backward, changed by a random relative error with
standard deviation DELTA. The largest change of the gradient in RUNS such runs, over DELTA, is what
rounding errors of one eps in every layer do to it. Rounding to nearest has a standard deviation of
0.29 eps, so one eps stands for about twelve roundings in every layer. Two implementations differ by
two such errors: the limit is FACTOR times that change, in eps of the dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import bpx
from bpx.demo.digits import Batch
from bpx.demo.network import Arrays, Network

DELTA, RUNS, FACTOR = 2.0**-23, 16, 8.0

Nudge = Callable[[Any], Any]


@dataclass(frozen=True)
class Row:
    """One parameter of one trainer. Errors: largest difference over max|gradient|, in eps."""

    param: str
    framework: str
    largest: float  # max|gradient|
    limit: float
    errors: dict[str, float]  # against "spec", "autodiff" and "other framework" where there is one

    @property
    def holds(self) -> bool:
        return all(e <= self.limit for e in self.errors.values())  # False for NaN


def verify(network: Network, weights: Arrays, batch: Batch, trainers: list[Any]) -> list[Row]:
    """A row for every parameter and trainer, at the weights the training starts from."""
    eps = float(np.finfo(batch.x.dtype).eps)
    spec = gradients(network, weights, batch)
    limits = _limits(network, weights, batch, spec)
    by_hand = {t.name: t.gradients(batch.x, batch.y) for t in trainers}
    by_autodiff = {t.name: t.gradients(batch.x, batch.y, own=True) for t in trainers}
    rows = []
    for name, true in spec.items():
        largest = float(np.abs(true).max())
        for framework, found in by_hand.items():
            references = {"spec": true, "autodiff": by_autodiff[framework][name]}
            others = [g[name] for f, g in by_hand.items() if f != framework]
            references |= {"other framework": others[0]} if others else {}
            errors = {
                reference: _distance(found[name], g) / largest / eps
                for reference, g in references.items()
            }
            rows.append(Row(name, framework, largest, limits[name], errors))
    return rows


def _distance(a: Any, b: Any) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())


def _limits(network: Network, weights: Arrays, batch: Batch, true: Arrays) -> dict[str, float]:
    draw = np.random.default_rng(0)

    def nudge(a: Any) -> Any:
        return a * (1 + DELTA * draw.standard_normal(np.shape(a)))

    runs = [gradients(network, weights, batch, nudge) for _ in range(RUNS)]
    return {
        k: FACTOR * max(_distance(run[k], g) for run in runs) / float(np.abs(g).max()) / DELTA
        for k, g in true.items()
    }


def gradients(
    network: Network, weights: Arrays, batch: Batch, nudge: Nudge = lambda a: a
) -> Arrays:
    """The gradient of every parameter by the specification in float64: NumPy, no framework."""
    ops = {op.name: op for op in bpx.ALL}
    calls, h = [], batch.x.astype(np.float64)
    for layer in network.layers:
        op, params = ops[layer.entry], (weights[k].astype(np.float64) for k in layer.names)
        arrays = tuple(nudge(a) for a in (h, *params))
        calls.append((op, arrays, op.complete(dict(layer.options)), layer.names))
        h = op.forward(*arrays, **calls[-1][2])[0]
    loss = ops[network.loss]
    dh = loss.backward(np.array(1.0), nudge(h), batch.y, None, **loss.complete({}))[0]
    found: Arrays = {}
    for op, arrays, options, names in reversed(calls):
        dh, *dparams = op.backward(nudge(dh), *arrays, **options)
        found |= dict(zip(names, dparams, strict=True))
    return {p.name: found[p.name] for p in network.params}
