"""Step functions whose backward pretends they were the identity: straight-through estimators.

The derivative of a step is 0 wherever it exists, so nothing below it would be trained. NaN stays
NaN forward and lets dy through backward.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.elementwise import row
from bpx.spec import Op, Options, Reject, number, require

PATH = "surrogate/straight_through"
PASSES = "the derivative of a step is 0 almost everywhere; dy is handed through as it is"
CLIPS = "the derivative of a step is 0 almost everywhere; dy is handed through where x is near"


def _sign(x: Any) -> Any:
    return np.where(np.isnan(x.real), x.real, np.where(x.real >= 0, 1.0, -1.0))


def _round(x: Any) -> Any:
    return np.rint(x.real)


def _binarize(x: Any, threshold: float) -> Any:
    return np.where(np.isnan(x.real), x.real, np.where(x.real >= threshold, 1.0, 0.0))


def _far(distance: Any, clip: float) -> Any:
    return np.abs(distance) > clip


def _checks(name: str) -> Any:
    def check(dims: Dims, o: Options) -> None:
        for option in o:
            number(name, option, o[option])
        if "clip" in o:
            require(o["clip"] >= 0, f"{name}: clip is {o['clip']}, expected at least 0")

    return check


def _clip_rejects() -> tuple[Reject, ...]:
    return (
        Reject("clip is -1.0, expected at least 0", {"x": (2, 3)}, {"clip": -1.0}),
        Reject("clip is None, expected a number", {"x": (2, 3)}, {"clip": None}),
    )


def _threshold_reject() -> Reject:
    return Reject("threshold is '0', expected a number", {"x": (2, 3)}, {"threshold": "0"})


straight_through_sign = row(
    "straight_through_sign",
    PATH,
    """Sign with an identity backward.

    y = 1 for x >= 0, -1 below;    dx = dy

Keeps nothing. sign(0) is 1, of either zero.
Source: Bengio, Leonard, Courville 2013, "Estimating or Propagating Gradients Through Stochastic
Neurons for Conditional Computation", arXiv:1308.3432; Hubara et al. 2016, "Binarized
Neural Networks", NIPS, equation 1 (the sign of 0).
""",
    f=_sign,
    df=np.ones_like,
    saves="",
    kinks="y is 1 at 0",
    at=lambda o: (0.0, -0.0, -0.25),
    surrogate=PASSES,
)

straight_through_round = row(
    "straight_through_round",
    PATH,
    """Rounding to integers with an identity backward.

    y = the integer nearest to x, the even one of two;    dx = dy

Keeps nothing.
Source: Bengio, Leonard, Courville 2013, arXiv:1308.3432; as rounding: Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR, section 3.
""",
    f=_round,
    df=np.ones_like,
    saves="",
    kinks="halves are rounded to the even integer",
    at=lambda o: (-1.5, -0.5, 0.5, 1.5, 2.5),
    surrogate=PASSES,
)

straight_through_binarize = row(
    "straight_through_binarize",
    PATH,
    """Zero or one by a threshold, with an identity backward.

    y = 1 for x >= threshold, 0 below;    dx = dy

Keeps nothing.
Source: Bengio, Leonard, Courville 2013, arXiv:1308.3432.
""",
    f=_binarize,
    df=lambda x, threshold: np.ones_like(x),
    saves="",
    options={"threshold": 0.0},
    loud=({"threshold": 0.75},),
    kinks="y is 1 at the threshold",
    at=lambda o: (o["threshold"],),
    check=_checks("straight_through_binarize"),
    rejects=(_threshold_reject(),),
    surrogate=PASSES,
)

clipped_straight_through_sign = row(
    "clipped_straight_through_sign",
    PATH,
    """Sign with the backward of a hard tanh.

    y = 1 for x >= 0, -1 below;    dx = dy where |x| <= clip, else 0

sign(0) is 1, of either zero. Keeps where |x| > clip.
Source: Hubara et al. 2016, "Binarized Neural Networks", NIPS, equations 1 and 4.
""",
    f=lambda x, clip: _sign(x),
    df=lambda x, clip: np.where(_far(x, clip), 0.0, 1.0),
    mask=_far,
    options={"clip": 1.0},
    loud=({"clip": 2.5},),
    kinks="y is 1 at 0; dx is dy at -clip and at clip",
    at=lambda o: (0.0, -0.0, -o["clip"], o["clip"]),
    check=_checks("clipped_straight_through_sign"),
    rejects=_clip_rejects(),
    surrogate=CLIPS,
)

clipped_straight_through_round = row(
    "clipped_straight_through_round",
    PATH,
    """Rounding to integers with a clipped identity backward.

    y = the integer nearest to x, the even one of two;    dx = dy where |x| <= clip, else 0

Keeps where |x| > clip.
Source: Bengio, Leonard, Courville 2013, arXiv:1308.3432; the clipping: Hubara et al.
2016, "Binarized Neural Networks", NIPS, equation 4.
""",
    f=lambda x, clip: _round(x),
    df=lambda x, clip: np.where(_far(x, clip), 0.0, 1.0),
    mask=_far,
    options={"clip": 1.0},
    loud=({"clip": 2.5},),
    kinks="halves are rounded to the even integer; dx is dy at -clip and at clip",
    at=lambda o: (-1.5, -0.5, 0.5, 2.5, -o["clip"], o["clip"]),
    check=_checks("clipped_straight_through_round"),
    rejects=_clip_rejects(),
    surrogate=CLIPS,
)

clipped_straight_through_binarize = row(
    "clipped_straight_through_binarize",
    PATH,
    """Zero or one by a threshold, with a clipped identity backward.

    y = 1 for x >= threshold, 0 below;    dx = dy where |x - threshold| <= clip, else 0

Keeps where |x - threshold| > clip.
Source: Bengio, Leonard, Courville 2013, arXiv:1308.3432; the clipping: Hubara et al.
2016, "Binarized Neural Networks", NIPS, equation 4.
""",
    f=lambda x, threshold, clip: _binarize(x, threshold),
    df=lambda x, threshold, clip: np.where(_far(x - threshold, clip), 0.0, 1.0),
    mask=lambda x, threshold, clip: _far(x - threshold, clip),
    options={"threshold": 0.0, "clip": 1.0},
    loud=({"threshold": 0.75, "clip": 2.5},),
    kinks="y is 1 at the threshold; dx is dy at threshold - clip and threshold + clip",
    at=lambda o: (o["threshold"], -o["clip"], o["clip"]),
    check=_checks("clipped_straight_through_binarize"),
    rejects=(_threshold_reject(), *_clip_rejects()),
    surrogate=CLIPS,
)

ALL: tuple[Op, ...] = (
    straight_through_sign,
    straight_through_round,
    straight_through_binarize,
    clipped_straight_through_sign,
    clipped_straight_through_round,
    clipped_straight_through_binarize,
)
