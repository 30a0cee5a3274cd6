"""Where healthy ends. Each limit has its reason beside it; the page prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from bpx.spec import number, require

ENTRY = "health"

REASONS: dict[str, str] = {
    "vanishing": "a layer whose gradient has this share of the largest learns that much more "
    "slowly at one learning rate (Glorot and Bengio 2010, section 4.2, plot these variances)",
    "exploding": "the same span the other way: by activations forwards, or by gradients backwards "
    "(Pascanu, Mikolov, Bengio 2013, section 2)",
    "relative": "the norm of a gradient over the norm of its weights: at this, a learning rate of "
    "0.001 changes the weights by as much as they are",
    "dead": "in a deep ReLU network without normalisation about half of the units are constant for "
    "a whole batch and only the other half are alive; a share beyond this is not that",
    "saturated": "half of the values pass less than 2 % of their gradient on",
    "twins": "units with equal weights and equal gradients stay equal: nearly all of them alike "
    "is the symmetry that a random start is there to break",
    "high": "an update of 0.001 of the weights is usual, 0.01 large; at this share the weights of "
    "a step ago are mostly forgotten in three",
    "low": "at this share of the weights a thousand steps change them by a thousandth, and in "
    "float32 an update under 6e-8 of a weight is rounded away",
    "examples": "under this many examples a unit that is zero for all may be so by chance: 0.5 ** "
    "8 is under a half per cent",
}


@dataclass(frozen=True)
class Thresholds:
    """The limits of the diagnosis. REASONS says why each is what it is.

    vanishing  ratio of gradient norms, first layer over largest
    exploding  ratio of norms, of activations forwards or gradients backwards
    relative   norm of a gradient over norm of its weights
    dead, saturated, twins  shares, 0 to 1
    high, low  norm of an update over norm of its weights, median over the matrices
    examples   how many examples a dead unit needs
    """

    vanishing: float = 1e-3
    exploding: float = 1e3
    relative: float = 1e3
    dead: float = 0.8
    saturated: float = 0.5
    twins: float = 0.9
    high: float = 0.3
    low: float = 1e-6
    examples: float = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number(ENTRY, field.name, value)
            share = field.name in ("vanishing", "dead", "saturated", "twins")
            require(
                value > 0 and (value <= 1 if share else math.isfinite(value)),
                f"{ENTRY}: {field.name} is {value!r}, expected a "
                f"{'share, over 0 and at most 1' if share else 'finite number over 0'}",
            )
        require(
            self.low < self.high,
            f"{ENTRY}: low is {self.low!r}, expected less than high, {self.high!r}",
        )
