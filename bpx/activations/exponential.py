"""Activations that are linear above zero and exponential below: one row to a function."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.elementwise import row
from bpx.spec import Op, Options, Reject, number, require

PATH = "activations/exponential"

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _below(x: Any) -> Any:
    """min(x, 0): the exponential of the branch that is not taken must not overflow."""
    return np.where(x.real > 0, 0.0, x)


def _celu_check(dims: Dims, o: Options) -> None:
    number("celu", "alpha", o["alpha"])
    require(o["alpha"] > 0, f"celu: alpha is {o['alpha']}, expected a number above 0")


elu = row(
    "elu",
    PATH,
    """Exponential linear unit.

    y = x                    x > 0
    y = alpha (e^x - 1)      x <= 0

Source: Clevert, Unterthiner, Hochreiter 2016, "Fast and Accurate Deep Network Learning by
Exponential Linear Units (ELUs)", arXiv:1511.07289, section 3.
""",
    f=lambda x, alpha: np.where(x.real > 0, x, alpha * np.expm1(_below(x))),
    df=lambda x, alpha: np.where(x > 0, 1.0, alpha * np.exp(_below(x))),
    options={"alpha": 1.0},
    loud=({"alpha": 0.3},),
    kinks="alpha, the slope from below, at 0 (as torch)",
    at=lambda o: (0.0,),
    check=lambda dims, o: number("elu", "alpha", o["alpha"]),
    rejects=(
        Reject("alpha is '1', expected a number", {"x": (2, 3)}, {"alpha": "1"}),
        Reject("it takes ['alpha']", {"x": (2, 3)}, {"slope": 1.0}),
    ),
)

selu = row(
    "selu",
    PATH,
    """Scaled exponential linear unit.

    y = scale x                    x > 0
    y = scale alpha (e^x - 1)      x <= 0

with alpha = 1.6732632423543772 and scale = 1.0507009873554805, for which zero mean and unit
variance are a fixed point.
Source: Klambauer, Unterthiner, Mayr, Hochreiter 2017, "Self-Normalizing Neural Networks",
arXiv:1706.02515, equation 2.
""",
    f=lambda x: SELU_SCALE * np.where(x.real > 0, x, SELU_ALPHA * np.expm1(_below(x))),
    df=lambda x: SELU_SCALE * np.where(x > 0, 1.0, SELU_ALPHA * np.exp(_below(x))),
    kinks="scale alpha, the slope from below, at 0 (as torch)",
    at=lambda o: (0.0,),
)

celu = row(
    "celu",
    PATH,
    """Continuously differentiable exponential linear unit.

    y = x                            x > 0
    y = alpha (e^(x / alpha) - 1)    x <= 0

The derivative is 1 at 0 from both sides. alpha is above 0; torch also takes a negative one, for
which the lower branch grows without bound.
Source: Barron 2017, "Continuously Differentiable Exponential Linear Units", arXiv:1704.07483.
""",
    f=lambda x, alpha: np.where(x.real > 0, x, alpha * np.expm1(_below(x) / alpha)),
    df=lambda x, alpha: np.where(x > 0, 1.0, alpha * np.exp(_below(x) / alpha) / alpha),
    options={"alpha": 1.0},
    loud=({"alpha": 0.3},),
    check=_celu_check,
    rejects=(
        Reject("alpha is 0, expected a number above 0", {"x": (2, 3)}, {"alpha": 0}),
        Reject("alpha is None, expected a number", {"x": (2, 3)}, {"alpha": None}),
        Reject("it takes ['alpha']", {"x": (2, 3)}, {"beta": 1.0}),
    ),
)

ALL: tuple[Op, ...] = (elu, selu, celu)
