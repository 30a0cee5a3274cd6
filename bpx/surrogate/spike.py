"""Spikes: the step function of a neuron's membrane potential, with a smooth bump backward.

    y = 1 for x >= 0, 0 below

x is the potential minus the threshold. NaN stays NaN, forward and backward; dx is 0 at infinities.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.elementwise import row
from bpx.spec import Op, Options, Reject, number, require

PATH = "surrogate/spike"
BUMP = "the derivative of a spike is 0 almost everywhere; dy is weighted by a bump around 0 instead"


def _spike(x: Any) -> Any:
    return np.where(np.isnan(x.real), x.real, np.where(x.real >= 0, 1.0, 0.0))


def _checks(name: str) -> Any:
    def check(dims: Dims, o: Options) -> None:
        for option in o:
            number(name, option, o[option])
            require(
                0 < o[option] < math.inf,
                f"{name}: {option} is {o[option]}, expected a finite number above 0",
            )

    return check


def _reject(option: str) -> tuple[Reject, ...]:
    return (
        Reject(f"{option} is 0.0, expected a finite number", {"x": (2, 3)}, {option: 0.0}),
        Reject(f"{option} is None, expected a number", {"x": (2, 3)}, {option: None}),
    )


spike_fast_sigmoid = row(
    "spike_fast_sigmoid",
    PATH,
    """Spike whose backward is the derivative of a fast sigmoid.

    y = 1 for x >= 0, 0 below;    dx = dy / (1 + slope |x|)^2

Source: Zenke, Ganguli 2018, "SuperSpike: Supervised Learning in Multilayer Spiking Neural
Networks", Neural Computation 30(6).
""",
    f=lambda x, slope: _spike(x),
    df=lambda x, slope: 1 / (1 + slope * np.abs(x)) ** 2,
    options={"slope": 25.0},
    loud=({"slope": 1.5},),
    kinks="y is 1 at 0",
    at=lambda o: (0.0, -0.0, -0.25),
    check=_checks("spike_fast_sigmoid"),
    rejects=_reject("slope"),
    surrogate=BUMP,
)

spike_arctan = row(
    "spike_arctan",
    PATH,
    """Spike whose backward is the derivative of an arctangent.

    y = 1 for x >= 0, 0 below;    dx = dy (alpha / 2) / (1 + (pi alpha x / 2)^2)

Source: Fang et al. 2021, "Incorporating Learnable Membrane Time Constant to Enhance Learning of
Spiking Neural Networks", ICCV.
""",
    f=lambda x, alpha: _spike(x),
    df=lambda x, alpha: (alpha / 2) / (1 + (math.pi / 2 * alpha * x) ** 2),
    options={"alpha": 2.0},
    loud=({"alpha": 0.7},),
    kinks="y is 1 at 0",
    at=lambda o: (0.0, -0.0, -0.25),
    check=_checks("spike_arctan"),
    rejects=_reject("alpha"),
    surrogate=BUMP,
)

spike_triangular = row(
    "spike_triangular",
    PATH,
    """Spike whose backward is a triangle.

    y = 1 for x >= 0, 0 below;    dx = dy height max(0, 1 - |x| / width)

Bellec has height 0.3, to dampen what goes through many steps in time.
Source: Esser et al. 2016, "Convolutional networks for fast, energy-efficient neuromorphic
computing", PNAS 113(41); Bellec et al. 2018, "Long short-term memory and learning-to-learn
in networks of spiking neurons", NeurIPS.
""",
    f=lambda x, width, height: _spike(x),
    df=lambda x, width, height: height * np.maximum(0.0, 1 - np.abs(x) / width),
    options={"width": 1.0, "height": 1.0},
    loud=({"width": 2.5, "height": 0.3},),
    kinks="y is 1 at 0",
    at=lambda o: (0.0, -0.0, -o["width"], o["width"]),
    check=_checks("spike_triangular"),
    rejects=(*_reject("width"), *_reject("height")),
    surrogate=BUMP,
)

ALL: tuple[Op, ...] = (spike_fast_sigmoid, spike_arctan, spike_triangular)
