"""The comparison: one small network, ten ways to train it, one budget of function evaluations.

One evaluation is one pass of all training images through the network, forwards or backwards:

    the loss                        1
    the loss and its gradient       2         the share B / N of it for a batch of B images
    the Hessian of n parameters     2 n       a row is the gradient of an element of the gradient

A framework gives loss, gradient and Hessian by bpx's rules; what is done with them is the
specification's optimizers, solvers and search, in NumPy and the same for both frameworks. The loss
that a stochastic method has reached is measured on all images now and then; that is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import bpx
from bpx import random, solvers
from bpx.demo import digits
from bpx.initializers import sample
from bpx.search import Annealing, LocalSearch, RandomSearch

Array = np.ndarray[Any, Any]
CLASSES, TRAIN, PENALTY = 3, 48, 1e-2
SIZES = (16, 3, CLASSES)
BATCH, MEASURED = 8, 150  # images of a mini-batch; how often a stochastic run is measured
OPTIMIZERS = {entry.name: entry for entry in bpx.OPTIMIZERS}
FOREVER = 10**9  # iterations: the budget ends before


class Spent(Exception):
    """The budget does not hold another evaluation."""


@dataclass(frozen=True)
class Task:
    """Images (N, 16) of the first digits, 8 x 8 pixels averaged to 4 x 4, and labels (N)."""

    x: Array
    y: Array
    test_x: Array
    test_y: Array
    start: Array  # the first weights: of each layer (out, in) and its bias, one after another
    order: Any  # key
    noise: Any  # key


@dataclass(frozen=True)
class Curve:
    """evaluations and lowest loss up to there, at the points where it was measured; the weights of
    the lowest; how many steps were made; how it ended."""

    evaluations: Array
    loss: Array
    weights: Array
    steps: int
    outcome: str


def task(seed: int) -> Task:
    split, init, order, noise = random.split(random.key(seed), 4)
    data = digits.load(split, order, "float64")
    images = np.concatenate([data.train.x, data.test.x])
    labels = np.concatenate([data.train.y, data.test.y])
    kept = labels < CLASSES
    x = images[kept].reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(-1, 16)
    y = labels[kept]
    parts = []
    for i, (fan_in, fan_out) in enumerate(pairwise(SIZES)):
        weight = sample("xavier_normal", random.fold_in(init, i), (fan_out, fan_in), "float64")
        parts += [weight.ravel(), np.zeros(fan_out)]
    start = np.concatenate(parts)
    return Task(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:], start, order, noise)


class Meter:
    """Counts the evaluations of a problem, and keeps the lowest loss."""

    def __init__(
        self, problem: Any, start: Array, budget: int, tick: Callable[[float], None]
    ) -> None:
        self.problem, self.budget, self.tick = problem, budget, tick
        self.spent, self.steps = 0.0, 0
        self.points: list[tuple[float, float]] = []
        self.low, self.weights = math.inf, start

    def _pay(self, cost: float) -> None:
        # a sum of shares of N is rounded: a thousandth is no evaluation
        if self.spent + cost > self.budget + 1e-3:
            raise Spent
        self.spent += cost
        self.tick(self.spent)

    def _note(self, w: Array, value: float) -> None:
        if value < self.low:
            self.low, self.weights = value, np.array(w)
        self.points.append((self.spent, self.low))

    def loss(self, w: Array) -> float:
        self._pay(1)
        value = float(self.problem.loss(w))
        self._note(w, value)
        return value

    def loss_and_grad(self, w: Array) -> tuple[float, Array]:
        self._pay(2)
        value, grad = self.problem.loss_and_grad(w, None)
        self._note(w, value)
        return value, grad

    def batch_grad(self, w: Array, rows: Array) -> Array:
        self._pay(2 * len(rows) / TRAIN)
        return self.problem.loss_and_grad(w, rows)[1]

    def measure(self, w: Array) -> None:
        """The loss on all images, not counted."""
        self._note(w, float(self.problem.loss(w)))

    def hessian(self, w: Array) -> Array:
        self._pay(2 * len(w))
        return self.problem.hessian(w)

    def curve(self, outcome: str) -> Curve:
        evaluations, loss = np.array(self.points).reshape(-1, 2).T
        return Curve(evaluations, loss, self.weights, self.steps, outcome)


def descent(optimizer: str, batch: int = TRAIN, **options: Any) -> Callable[[Meter, Task], str]:
    """Steps of an optimizer of the specification, each on the next images in order."""

    def run(meter: Meter, task: Task) -> str:
        spec = OPTIMIZERS[optimizer]
        full = {**spec.options, **options}
        w, state = task.start, spec.init(task.start, **full)
        each = max(1, round(meter.budget / MEASURED / (2 * batch / TRAIN)))
        if batch < TRAIN:
            meter.measure(w)
        while True:
            epoch, place = divmod(meter.steps, TRAIN // batch)
            if batch == TRAIN:
                g = meter.loss_and_grad(w)[1]
            else:
                if place == 0:
                    rows = digits.permutation(random.fold_in(task.order, epoch), TRAIN)
                g = meter.batch_grad(w, rows[place * batch :][:batch])
            meter.steps += 1
            w, state = spec.step(w, g, state, meter.steps, **full)
            if not np.isfinite(w).all():
                return "diverged"
            if batch < TRAIN and meter.steps % each == 0:
                meter.measure(w)

    return run


def lbfgs(meter: Meter, task: Task) -> str:
    exact: dict[str, Any] = {"tolerance_grad": 1e-12, "tolerance_change": 0.0}
    found = solvers.lbfgs(meter.loss_and_grad, task.start, max_iter=FOREVER, **exact)
    meter.steps = found.iterations
    return found.outcome


def newton(meter: Meter, task: Task) -> str:
    exact: dict[str, Any] = {"tolerance_grad": 1e-12, "tolerance_change": 0.0}

    def hessian(w: Array) -> Array:
        h = meter.hessian(w)
        meter.steps += 1
        return h

    return solvers.newton(
        meter.loss_and_grad, hessian, task.start, max_iter=FOREVER, **exact
    ).outcome


def search(method: Callable[[int], Any]) -> Callable[[Meter, Task], str]:
    def run(meter: Meter, task: Task) -> str:
        found = method(meter.budget).run(meter.loss, task.start, task.noise)
        meter.steps = found.accepted
        return ""

    return run


# name -> (how it runs, what it is)
METHODS: dict[str, tuple[Callable[[Meter, Task], str], str]] = {
    "batch descent": (descent("sgd", lr=0.5), "lr 0.5, all images"),
    "stochastic descent": (descent("sgd", 1, lr=0.02), "lr 0.02, one image"),
    "mini-batch descent": (descent("sgd", BATCH, lr=0.1), f"lr 0.1, {BATCH} images"),
    "momentum": (descent("sgd", lr=0.2, momentum=0.9), "lr 0.2, momentum 0.9, all images"),
    "Adam": (descent("adam", lr=0.03), "lr 0.03, all images"),
    "L-BFGS": (lbfgs, "10 pairs, strong Wolfe"),
    "Newton": (newton, "damped, strong Wolfe"),
    "annealing": (
        search(lambda n: Annealing(n, scale=0.1, temperature=0.03, final=1e-4)),
        "scale 0.1, temperature 0.03 to 0.0001, geometric",
    ),
    "local search": (search(lambda n: LocalSearch(n, scale=0.1)), "scale 0.1"),
    "random search": (search(lambda n: RandomSearch(n, scale=0.5)), "scale 0.5 around the start"),
}


def train(name: str, problem: Any, task: Task, budget: int, tick: Callable[[float], None]) -> Curve:
    """One method until the budget is spent or it has nothing left to do."""
    meter = Meter(problem, task.start, budget, tick)
    try:
        outcome = METHODS[name][0](meter, task) or "budget spent"
    except Spent:
        outcome = "budget spent"
    return meter.curve(outcome)


def accuracy(problem: Any, task: Task, weights: Array) -> float:
    """The share of the test images that are recognised."""
    right = problem.logits(weights, task.test_x).argmax(-1) == task.test_y
    return float(right.mean())
