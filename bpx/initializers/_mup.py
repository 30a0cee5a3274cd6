"""Maximal update parametrization: how the start and the rate of a weight follow the width.

    r_in, r_out = channels / channels of the base width       fan = channels * field

    weight    grows       std                  multiplier   rate, Adam   rate, SGD
    input     out         s / sqrt(fan_in)     1            1            r_out
    vector    its length  left as it is        1            1            r_out
    hidden    in and out  s / sqrt(fan_in)     1            1 / r_in     1
    output    in          s / sqrt(base fan)   1 / r_in     1            r_in
    fixed     nothing     s / sqrt(fan_in)     1            1            1

That is table 8, relative to the base width as in appendix B.1: at the base width every factor is 1.
The multiplier is on what the weight is multiplied with. Table 3 is the same training without one
(lemma J.1): a multiplier m moves into the weight, whose std becomes m std and whose rate becomes
m times Adam's and m^2 times SGD's. A tied input and output weight needs table 8.
Source: Yang, Hu, Babuschkin, Sidor, Liu, Farhi, Ryder, Pachocki, Chen, Gao 2021, "Tensor Programs
V", arXiv:2203.03466, tables 3 and 8, appendix B.1, lemma J.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from bpx.initializers._layout import axes_of
from bpx.spec import one_of, require

Shape = tuple[int, ...]

OPTIMIZERS = ("adam", "sgd")
TABLES = (3, 8)


@dataclass(frozen=True)
class Scale:
    """What muP says of one parameter: kind, standard deviation (None: leave its values as they
    are), multiplier, and the factors on the learning rates of Adam and of SGD."""

    kind: str
    std: float | None
    multiplier: float = 1.0
    adam: float = 1.0
    sgd: float = 1.0

    def rate(self, optimizer: str) -> float:
        """The factor on the learning rate: "adam" for all that divide by the gradient's size."""
        one_of("mup", "optimizer", optimizer, OPTIMIZERS)
        return self.adam if optimizer == "adam" else self.sgd


def mup_scale(
    shape: Shape, base: Shape, layout: str | None = None, *, std: float = 1.0, table: int = 8
) -> Scale:
    """The row of one parameter.

    shape, base   its shape, and that at the base width
    layout        which axis is which (see axes_of); None for a vector or a scalar
    std           the s above: sqrt(2) for He's
    table         8, or 3 for the same training without multipliers

    Raises SpecError for shapes of different axes or field, for a matrix without a layout, and for
    an empty one.

    >>> mup_scale((512, 512), (128, 128), "OI").adam
    0.25
    """
    one_of("mup", "table", table, TABLES)
    known = isinstance(std, int | float) and math.isfinite(std) and std >= 0
    require(known, f"mup: std is {std!r}, expected a finite number at least 0")
    shape, base = tuple(shape), tuple(base)
    require(
        len(shape) == len(base),
        f"mup: base is {base} for the shape {shape}, expected {len(shape)} axes",
    )
    empty = 0 in shape or 0 in base
    require(not empty, f"mup: shape is {shape}, base {base}, expected no axis of size 0")
    if len(shape) < 2:
        return Scale("vector", None, sgd=math.prod(shape) / math.prod(base))
    require(
        layout is not None and len(layout) == len(shape),
        f"mup: layout is {layout!r}, expected one of {len(shape)} axes for the shape {shape}",
    )
    at: Any = axes_of(str(layout))
    i, o = at["in_axis"], at["out_axis"]
    others = [(n, b) for a, (n, b) in enumerate(zip(shape, base, strict=True)) if a not in (i, o)]
    require(
        all(n == b for n, b in others),
        f"mup: base is {base} for the shape {shape}, expected the same axes but I and O",
    )
    stack = math.prod(shape[a] for a in at["batch_axis"])
    field = math.prod(n for n, _ in others) // stack
    row = _row(shape[i] / base[i], shape[o] / base[o], shape[i] * field, base[i] * field, std)
    return row if table == 8 else without_multiplier(row)


def _row(r_in: float, r_out: float, fan_in: int, base_fan_in: int, s: float) -> Scale:
    if r_in != 1 and r_out != 1:
        return Scale("hidden", s / math.sqrt(fan_in), adam=1 / r_in)
    if r_in != 1:
        return Scale("output", s / math.sqrt(base_fan_in), multiplier=1 / r_in, sgd=r_in)
    kind = "input" if r_out != 1 else "fixed"
    return Scale(kind, s / math.sqrt(fan_in), sgd=r_out)


def without_multiplier(row: Scale) -> Scale:
    """The same training with a multiplier of 1: lemma J.1."""
    m = row.multiplier
    std = None if row.std is None else m * row.std
    return replace(row, std=std, multiplier=1.0, adam=m * row.adam, sgd=m * m * row.sgd)
