"""Two networks against each other: a generator of digits and a discriminator of real ones.

What shows a collapse: how far a generated digit is from the nearest training digit, beside the same
figure for digits held back; and how many different training digits and classes are nearest.
Source: Goodfellow et al. 2014, "Generative Adversarial Networks", arXiv:1406.2661, algorithm 1 with
the loss that does not saturate (section 3); convolutions: Radford, Metz, Chintala 2016,
arXiv:1511.06434.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx import random
from bpx.demo import digits, models, tiles
from bpx.demo.digits import SIDE, Array
from bpx.demo.lockstep import Limit, State
from bpx.demo.settings import Settings
from bpx.demo.task import Card, Figure, Task, Verdict

SHOWN = 40  # generated digits in a picture
GREY = 8  # grey levels of a pixel, 0 to 16, for 1 of what a network sees, -1 to 1
# What must hold at the end: the nearest training digit is at most this many times as far as from a
# digit held back; distinct ones are nearest at least this many times as often; so many classes are.
FURTHER, DISTINCT, CLASSES = 1.5, 0.5, 9


@dataclass(frozen=True)
class Noisy:
    """Real images in batches, each with noise for the two losses and their labels."""

    images: Array
    order: Any  # keys
    noise: Any
    width: int

    def batch(self, step: int, size: int) -> Any:
        real = self.images[digits.in_order(self.order, step, size, len(self.images))]
        keys = random.split(random.fold_in(self.noise, step))
        first, second = (random.normal(k, (size, self.width), real.dtype) for k in keys)
        ones = np.ones(size, real.dtype)
        return real, first, second, np.concatenate([ones, 0 * ones]), ones


@dataclass(frozen=True)
class Neighbours:
    """Of each digit the nearest training digit: mean distance in grey levels, as the root of the
    mean square over the pixels; how many different ones; how often each class."""

    distance: float
    distinct: int
    classes: tuple[int, ...]
    at: Array


def neighbours(found: Array, train: Array, labels: Array) -> Neighbours:
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (found, train))
    squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    at = squares.argmin(1)
    mean = np.sqrt(np.maximum(squares.min(1), 0) / a.shape[1]).mean()
    counts = np.bincount(labels[at], minlength=10)
    return Neighbours(GREY * float(mean), len(set(at.tolist())), tuple(counts.tolist()), at)


def make(settings: Settings, keys: Any) -> Task:
    split, order, extra = keys
    noise, draw = random.split(extra)
    data = digits.load(split, order, settings.dtype)
    shape = (-1, 1, SIDE, SIDE)
    train, test = data.train.x.reshape(shape), data.test.x.reshape(shape)
    width, channels = settings.sizes
    net = models.gan(settings.sizes)
    generator = models.generator(settings.sizes)
    discriminator = models.discriminator(settings.sizes)

    def judge(trainers: list[Any], state: State, short: str) -> Verdict:
        z = random.normal(draw, (len(test), width), settings.dtype)
        real = neighbours(test, train, data.train.y)
        figures: list[Figure] = []
        limits: list[Limit] = []
        cards: list[Card] = []
        for t in trainers:
            made = t.values(generator, z)
            right = t.values(discriminator, test) > 0, t.values(discriminator, made) < 0
            accuracy = float(np.concatenate(right).mean())
            near = neighbours(made, train, data.train.y)
            limits += _limits(t.name, near, real, len(made), short)
            figures += _figures(t.name, accuracy, near, real)
            cards += _cards(t.name, made, near, train)
        cards.append(
            Card(
                "Digits held back, for comparison",
                f"nearest training digit {real.distance:.2f} grey levels away; "
                f"{real.distinct} different ones for {len(test)}",
                tiles.svg(test[:SHOWN], "real digits"),
            )
        )
        return Verdict(
            tuple(figures), tuple(limits), tuple(cards), "What the generator makes", WORDS
        )

    about = f"{len(train)} training images and {len(test)} held back, 8 x 8 pixels, -1 to 1"
    summary = (
        f"A generator from {width} random numbers by transposed convolutions and a discriminator "
        f"by convolutions, {channels} channels at most, {{parameters}} parameters, trained against "
        "each other on handwritten digits"
    )
    return Task(
        net,
        Noisy(train, order, noise, width),
        len(train),
        "images",
        summary,
        {"data": about},
        judge,
        losses=("discriminator", "generator"),
        lines=(("ln 2, a discriminator that cannot tell", math.log(2)),),
    )


WORDS = (
    "From the same noise in every framework. A generator that collapsed makes few different "
    "digits: then few training digits are nearest to all it makes, and classes are missing. "
    "Distances are the root of the mean square over the 64 pixels, in grey levels of 0 to 16. The "
    "discriminator's accuracy is over digits held back and as many generated ones: 50 % is "
    "guessing."
)


def _limits(
    name: str, near: Neighbours, real: Neighbours, count: int, short: str
) -> tuple[Limit, ...]:
    further, distinct = FURTHER * real.distance, DISTINCT * real.distinct
    seen = sum(n > 0 for n in near.classes)
    return (
        Limit(
            f"distance of a generated digit to the nearest training digit, {name}",
            f"<= {further:.2f} grey levels, {FURTHER:g} x that of digits held back",
            f"{near.distance:.2f} grey levels{short}",
            None if short else near.distance <= further,
        ),
        Limit(
            f"different nearest training digits of {count} generated, {name}",
            f">= {distinct:.0f}, {DISTINCT:g} x those of digits held back",
            f"{near.distinct}{short}",
            None if short else near.distinct >= distinct,
        ),
        Limit(
            f"classes of the nearest training digits, {name}",
            f">= {CLASSES}",
            f"{seen}{short}",
            None if short else seen >= CLASSES,
        ),
    )


def _figures(name: str, accuracy: float, near: Neighbours, real: Neighbours) -> tuple[Figure, ...]:
    held = f"({real.distance:.2f} from digits held back)"
    return (
        Figure(f"{100 * accuracy:.1f} %", f"discriminator's accuracy, {name}", name),
        Figure(
            f"{near.distance:.2f}",
            f"grey levels to the nearest training digit, {name} {held}",
            name,
        ),
        Figure(
            f"{near.distinct}",
            f"different nearest training digits, {name} ({real.distinct} of digits held back)",
            name,
        ),
    )


def _cards(name: str, made: Array, near: Neighbours, train: Array) -> tuple[Card, ...]:
    counts = ", ".join(f"{digit}: {n}" for digit, n in enumerate(near.classes))
    return (
        Card(
            f"Generated digits, {name}",
            f"nearest by class over all {len(made)}: {counts}",
            tiles.svg(made[:SHOWN], f"digits generated by {name}"),
        ),
        Card(
            f"Their nearest training digits, {name}",
            "each in the place of its generated one",
            tiles.svg(train[near.at[:SHOWN]], f"training digits nearest to those of {name}"),
        ),
    )
