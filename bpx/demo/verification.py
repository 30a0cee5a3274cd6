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

from bpx.demo.network import OPS, Arrays, Layer, Network
from bpx.demo.wiring import WIRING

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


def verify(network: Any, weights: Arrays, batch: Any, trainers: list[Any]) -> list[Row]:
    """A row for every parameter and trainer, at the weights the training starts from."""
    rows = []
    for i, part in enumerate(network.parts):
        rows += _part(i, part, weights, tuple(batch), trainers)
    return rows


def _part(i: int, network: Network, weights: Arrays, batch: Any, trainers: list[Any]) -> list[Row]:
    eps = float(np.finfo(weights[network.own[0]].dtype).eps)
    spec = gradients(network, weights, batch)
    limits = _limits(network, weights, batch, spec)
    by_hand = {t.name: t.gradients(*batch, part=i) for t in trainers}
    by_autodiff = {t.name: t.gradients(*batch, part=i, own=True) for t in trainers}
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


def _limits(network: Network, weights: Arrays, batch: Any, true: Arrays) -> dict[str, float]:
    draw = np.random.default_rng(0)

    def nudge(a: Any) -> Any:
        return a * (1 + DELTA * draw.standard_normal(np.shape(a)))

    runs = [gradients(network, weights, batch, nudge) for _ in range(RUNS)]
    return {
        k: FACTOR * max(_distance(run[k], g) for run in runs) / float(np.abs(g).max()) / DELTA
        for k, g in true.items()
    }


def gradients(network: Network, weights: Arrays, batch: Any, nudge: Nudge = lambda a: a) -> Arrays:
    """The gradient of every parameter that the loss trains, by the specification in float64:
    NumPy, no framework."""
    values = {k: _wide(a) for k, a in network.given(batch).items()}
    values |= {p.name: _wide(weights[p.name]) for p in network.params}
    calls = []
    for layer, names in network.wired():
        names = (*names, *layer.names)
        taken = (values[name] for name in names)
        arrays = tuple(nudge(a) if a.dtype.kind == "f" else a for a in taken)
        calls.append((layer, names, (*arrays, *layer.absent())))
        values[layer.name] = _forward(*calls[-1][::2])
    logits, loss = layer.name, OPS[network.loss]
    given = (nudge(values[logits]), values[network.target], *network.loss_absent())
    cotangents = {logits: loss.backward(np.array(1.0), *given, **loss.complete({}))[0]}
    for layer, names, arrays in reversed(calls):
        back = _backward(nudge(cotangents.pop(layer.name)), layer, arrays)
        for name, d in zip(names, back, strict=False):
            if d is not None:
                cotangents[name] = cotangents[name] + d if name in cotangents else d
    return {name: cotangents[name] for name in network.own}


def _wide(a: Any) -> Any:
    return a.astype(np.float64) if a.dtype.kind == "f" else a


def _forward(layer: Layer, arrays: tuple[Any, ...]) -> Any:
    if layer.wiring:
        return WIRING[layer.entry].forward(*arrays, **layer.complete)
    return OPS[layer.entry].forward(*arrays, **layer.complete)[0]


def _backward(dy: Any, layer: Layer, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    if layer.wiring:
        return WIRING[layer.entry].backward(dy, *arrays, **layer.complete)
    return OPS[layer.entry].backward(dy, *arrays, **layer.complete)
