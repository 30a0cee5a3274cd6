"""The study's training: one network, one order of the images, three ways to send the error back.

    exact      back-propagation
    feedback   feedback alignment: dx by a fixed random matrix in place of the weights
    direct     direct feedback alignment: the output's error to each hidden layer by a fixed random
               matrix

A framework gives gradients by bpx's rules; what is done with them, plain gradient descent and the
angle to the exact gradient at the same weights, is NumPy here and the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx import random
from bpx.demo import digits

RULES = ("exact", "feedback", "direct")
SIZES = (64, 96, 96, 96, 10)
LR, BATCH = 0.1, 32

Array = np.ndarray[Any, Any]
Layers = list[tuple[Array, Array]]


@dataclass(frozen=True)
class Study:
    """accuracy[rule]: on the test images, before training and after each epoch. angles[rule]: in
    degrees, at the same times, one for each layer: update against exact gradient."""

    epochs: int
    seed: int
    framework: str
    sizes: tuple[int, ...]
    lr: float
    batch: int
    accuracy: dict[str, list[float]]
    angles: dict[str, list[list[float]]]


def uniform(key: Any, shape: tuple[int, ...], fan_in: int) -> Array:
    """As torch.nn.Linear draws its weights: between -1 and 1, over the root of fan_in."""
    return ((2 * random.uniform(key, shape) - 1) / np.sqrt(fan_in)).astype(np.float32)


def initial(key: Any) -> Layers:
    """A weight (out, in) and a bias of zeros for each layer."""
    keys = random.split(key, len(SIZES) - 1)
    pairs = zip(keys, SIZES[1:], SIZES[:-1], strict=True)
    return [(uniform(k, (out, n), n), np.zeros(out, np.float32)) for k, out, n in pairs]


def matrices(rule: str, key: Any) -> list[Array]:
    """What the errors go back through: for every layer but the first a matrix of its weight's
    shape, or for every hidden layer one from the output's size."""
    keys = random.split(key, len(SIZES) - 2)
    hidden = SIZES[1:-1]
    if rule == "feedback":
        shapes = [(out, n) for out, n in zip(SIZES[2:], hidden, strict=True)]
        return [uniform(k, s, s[1]) for k, s in zip(keys, shapes, strict=True)]
    if rule == "direct":
        return [uniform(k, (SIZES[-1], n), SIZES[-1]) for k, n in zip(keys, hidden, strict=True)]
    return []


def angle(a: Array, b: Array) -> float:
    """Degrees between two arrays as vectors; 90 where one of them is zero."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.degrees(np.arccos(np.clip(a @ b / size, -1, 1)))) if size else 90.0


def run(
    gradients: Callable[..., Layers],
    scores: Callable[..., Array],
    framework: str,
    epochs: int,
    seed: int,
    tick: Callable[[str], None] = lambda said: None,
) -> Study:
    """gradients(rule, layers, matrices, x, labels) -> (dweight, dbias) of each layer of the mean
    cross-entropy; scores(layers, x) -> logits. `tick` is called after every epoch."""
    split, order, init, back = random.split(random.key(seed), 4)
    data = digits.load(split, order, "float32")
    steps = len(data.train.y) // BATCH
    accuracy: dict[str, list[float]] = {}
    angles: dict[str, list[list[float]]] = {}
    for rule in RULES:
        layers, fixed = initial(init), matrices(rule, back)
        accuracy[rule], angles[rule] = [], []
        for epoch in range(epochs + 1):
            for step in range((epoch - 1) * steps, epoch * steps) if epoch else ():
                found = gradients(rule, layers, fixed, *data.batch(step, BATCH))
                layers = [
                    (w - LR * dw, b - LR * db)
                    for (w, b), (dw, db) in zip(layers, found, strict=True)
                ]
            right = scores(layers, data.test.x).argmax(-1) == data.test.y
            accuracy[rule].append(round(float(right.mean()), 6))
            ours = gradients(rule, layers, fixed, *data.train)
            exact = gradients("exact", layers, [], *data.train)
            now = [angle(a, e) for (a, _), (e, _) in zip(ours, exact, strict=True)]
            angles[rule].append([round(degrees, 3) for degrees in now])
            tick(f"{rule}, epoch {epoch}: {accuracy[rule][-1]:.1%}")
    return Study(epochs, seed, framework, SIZES, LR, BATCH, accuracy, angles)
