"""What is kept of one training step: numbers of layers and parameters, none of their arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Moments:
    """Of all values of an array: how many, their mean and variance (divided by the count), and
    how many are not finite. Mean and variance are NaN where there is
    no value or one that is not finite, and the variance inf where it overflows."""

    count: int
    mean: float
    variance: float
    nonfinite: int = 0

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return math.hypot(math.sqrt(self.variance), self.mean)

    @property
    def norm(self) -> float:
        """Euclidean norm of the array."""
        return self.rms * math.sqrt(self.count)

    @property
    def finite(self) -> bool:
        return self.nonfinite == 0


def merge(parts: Iterable[Moments]) -> Moments | None:
    """The moments of several arrays together; None of none.

    Source: Chan, Golub, LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances", equation 2.1, with variances in place of sums of squares.
    """
    total: Moments | None = None
    for b in parts:
        if total is None or total.count == 0:
            total = b
        elif b.count:
            a, n = total, total.count + b.count
            p, q, gap = a.count / n, b.count / n, b.mean - a.mean
            total = Moments(
                n,
                a.mean + q * gap,
                p * a.variance + q * b.variance + p * q * gap**2,
                a.nonfinite + b.nonfinite,
            )
    return total


@dataclass(frozen=True)
class Layer:
    """The output of one layer in one step.

    kind        one of KINDS
    activation  its values; gradient: the derivatives of the loss by them, None where there are none
    dead        share of units that are zero for every example; None under two examples
    saturated   share of values at the bounds of the kind; None for kinds without bounds
    examples    how many values each unit has
    """

    name: str
    kind: str
    activation: Moments
    gradient: Moments | None = None
    dead: float | None = None
    saturated: float | None = None
    examples: int = 0


@dataclass(frozen=True)
class Parameter:
    """One parameter in one step, before and after its update.

    layer     the name of the layer that owns it, "" for none
    weight    its values before the update
    gradient  as the optimizer meets it (clipped where it was clipped); None where there is none
    update    the norm of its change; None where no update was seen
    twins     share of units whose weights and gradients both equal another unit's; None for vectors
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    weight: Moments
    gradient: Moments | None = None
    update: float | None = None
    twins: float | None = None

    @property
    def ratio(self) -> float | None:
        """Norm of the update over norm of the weights; None without an update or without weights
        other than zero."""
        if self.update is None or not self.weight.norm:
            return None
        return self.update / self.weight.norm


@dataclass(frozen=True)
class Sample:
    """One training step, the first being step 0: layers in the order of forward."""

    step: int
    layers: tuple[Layer, ...] = ()
    parameters: tuple[Parameter, ...] = ()
