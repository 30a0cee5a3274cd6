"""What becomes of a signal and of a gradient in 50 layers, start by start, and of equal neurons.

A stack of linear layers without bias, each with an activation: normal inputs go in at the bottom, a
normal gradient comes in at the top. The specification runs it in NumPy; the frameworks run it by
their rules (bpx_torch/propagation.py, bpx_jax/propagation.py) and must agree with it at every
layer, within what rounding does (`bpx.demo.verification` says how that is measured).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx import initializers, random
from bpx.demo.network import OPS
from bpx.demo.verification import DELTA, FACTOR

DEPTH, WIDTH, BATCH = 50, 80, 48
STARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "zero": ("zeros", {}),
    "small normal": ("normal", {"std": 0.01}),
    "large normal": ("normal", {"std": 0.25}),
    "Xavier": ("xavier_normal", {}),
    "He": ("kaiming_normal", {"nonlinearity": "relu"}),
    "orthogonal": ("orthogonal", {}),
}
ACTIVATIONS = ("sigmoid", "tanh", "relu")
RUNS = 2  # of nudged passes; each has thousands of elements, and the largest change counts

# a disc and the ring around it, told apart by a layer of HIDDEN sigmoids
POINTS, HIDDEN, STEPS, RATE = 200, 8, 300, 0.1
TRAINED = ("zero", "Xavier")

Nudge = Callable[[Any], Any]
Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Passage:
    """One start with one activation. Of every layer, the first to the last:

    signal     variance of what the activation is given, over units and examples
    between    the share of it that differs from example to example
    gradient   variance of the gradient there
    """

    start: str
    activation: str
    signal: Any
    between: Any
    gradient: Any

    @property
    def verdict(self) -> str:
        """What becomes of the gradient from the last layer to the first."""
        last, first = self.gradient[-1], self.gradient[0]
        if not first > 0:
            return "is 0"
        if first < 1e-6 * last:
            return "vanishes"
        return "explodes" if first > 1e6 * last else "arrives"

    @property
    def factor(self) -> float:
        """By which the gradient's variance changes from one layer to the one below, on average."""
        last, first = self.gradient[-1], self.gradient[0]
        return float((first / last) ** (1 / (len(self.gradient) - 1))) if last > 0 else 0.0


@dataclass(frozen=True)
class Training:
    """A network trained from one start: the loss before every step and after the last, and at the
    same times the weights that go into the hidden units, (STEPS + 1, HIDDEN, 2)."""

    start: str
    losses: Any
    weights: Any

    @property
    def moved(self) -> float:
        """The largest change of a weight."""
        return float(np.abs(self.weights[-1] - self.weights[0]).max())

    @property
    def apart(self) -> float:
        """The largest difference between two hidden units, over all steps."""
        return float(np.ptp(self.weights, axis=1).max())


@dataclass(frozen=True)
class Results:
    """Of each framework. `worst` is its largest distance from the specification, as a share of what
    rounding may do."""

    seed: int
    passages: dict[str, list[Passage]]
    trainings: dict[str, list[Training]]
    worst: dict[str, float]

    @property
    def names(self) -> list[str]:
        return list(self.passages)

    @property
    def gap(self) -> float | None:
        """The largest relative difference of the losses of two frameworks; None for one."""
        if len(self.names) < 2:
            return None
        pairs = zip(*self.trainings.values(), strict=True)
        return max(float(np.max(np.abs(a.losses / b.losses - 1))) for a, b in pairs)


def drawn(seed: int) -> tuple[dict[str, Any], Any, Any]:
    """Weights of each start (DEPTH, WIDTH, WIDTH), the inputs, and the gradient at the top."""
    key = random.key(seed)
    weights = {
        start: np.stack(
            [
                initializers.sample(name, k, (WIDTH, WIDTH), np.float64, **options)
                for k in random.split(random.fold_in(key, i), DEPTH)
            ]
        )
        for i, (start, (name, options)) in enumerate(STARTS.items())
    }
    x, g = (random.normal(random.fold_in(key, 90 + i), (BATCH, WIDTH), np.float64) for i in (0, 1))
    return weights, x, g


def spec_pass(activation: str, weights: Any, x: Any, g: Any, nudge: Nudge = lambda a: a) -> Pair:
    """What every activation is given and the gradient there, (DEPTH, BATCH, WIDTH) each."""
    linear, act = OPS["linear"], OPS[activation]
    given, h = [], x
    for w in weights:
        given.append(linear.forward(nudge(h), w, None)[0])
        h = act.forward(given[-1])[0]
    gradients, dh = [], g
    for w, z in zip(weights[::-1], given[::-1], strict=True):
        gradients.append(act.backward(nudge(dh), z)[0])
        dh = linear.backward(gradients[-1], z, w, None)[0]
    return np.stack(given), np.stack(gradients[::-1])


def distances(pair: Pair, true: Pair) -> Any:
    """(2, DEPTH): the largest difference in each layer, over the largest value there."""
    found = []
    for a, b in zip(pair, true, strict=True):
        off, size = (np.abs(v).max(axis=(1, 2)) for v in (a - b, b))
        found.append(np.divide(off, size, out=np.where(off > 0, np.inf, 0.0), where=size > 0))
    return np.stack(found)


def limits(activation: str, weights: Any, x: Any, g: Any, true: Pair) -> Any:
    """(2, DEPTH): the distance that rounding may make."""
    draw = np.random.default_rng(0)

    def nudge(a: Any) -> Any:
        return a * (1 + DELTA * draw.standard_normal(a.shape))

    runs = [distances(spec_pass(activation, weights, x, g, nudge), true) for _ in range(RUNS)]
    return FACTOR * np.max(runs, axis=0) / DELTA * np.finfo(np.float64).eps


def measured(start: str, activation: str, pair: Pair) -> Passage:
    z, dz = pair
    signal = z.var(axis=(1, 2))
    differs = z.var(axis=1).mean(axis=1)
    between = np.divide(differs, signal, out=np.zeros(len(z)), where=signal > 0)
    return Passage(start, activation, signal, between, dz.var(axis=(1, 2)))


def disc(seed: int) -> tuple[Any, Any]:
    """(POINTS, 2) places and (POINTS, 1) classes: 1 in a disc, 0 in the ring around it."""
    turn, noise = random.split(random.fold_in(random.key(seed), 200))
    # a third and two thirds: with halves the gradient of the zero start is 0, and nothing moves
    y = (np.arange(POINTS) % 3 == 0).astype(np.float64)
    angle = 2 * np.pi * random.uniform(turn, (POINTS,), np.float64)
    x = np.where(y, 0.4, 1.4) * np.stack([np.cos(angle), np.sin(angle)])
    return x.T + 0.15 * random.normal(noise, (POINTS, 2), np.float64), y[:, None]


def first_weights(start: str, seed: int) -> dict[str, Any]:
    name, options = STARTS[start]
    keys = random.split(random.fold_in(random.key(seed), 300), 2)
    shapes = {"hidden": (HIDDEN, 2), "output": (1, HIDDEN)}
    found = {}
    for (layer, shape), key in zip(shapes.items(), keys, strict=True):
        found[f"{layer}.weight"] = initializers.sample(name, key, shape, np.float64, **options)
        found[f"{layer}.bias"] = np.zeros(shape[0])
    return found


def run(engines: dict[str, Any], seed: int, said: Callable[[str], None]) -> Results:
    """Every start with every activation, and the two trainings, in each framework."""
    weights, x, g = drawn(seed)
    passages: dict[str, list[Passage]] = {name: [] for name in engines}
    worst = dict.fromkeys(engines, 0.0)
    for activation in ACTIVATIONS:
        for start, w in weights.items():
            said(f"{activation}, {start}")
            true = spec_pass(activation, w, x, g)
            limit = limits(activation, w, x, g, true)
            for name, engine in engines.items():
                pair = engine.pass_through(activation, w, x, g)
                passages[name].append(measured(start, activation, pair))
                off = distances(pair, true)
                share = np.divide(off, limit, out=np.where(off > 0, np.inf, 0.0), where=limit > 0)
                worst[name] = max(worst[name], float(share.max()))
    trainings: dict[str, list[Training]] = {name: [] for name in engines}
    points = disc(seed)
    for start in TRAINED:
        said(f"training from {start}")
        for name, engine in engines.items():
            losses, hidden = engine.train(first_weights(start, seed), *points, STEPS, RATE)
            trainings[name].append(Training(start, losses, hidden))
    return Results(seed, passages, trainings, worst)
