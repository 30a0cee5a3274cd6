"""Piecewise linear and quadratic activations: a derivative table, one row to a function.

Where the derivative jumps the choice is torch's, in JAX too: jax.nn has others for leaky_relu and
hard_tanh. NaN stays NaN.
"""

from __future__ import annotations

import numpy as np

from bpx.dims import Dims
from bpx.elementwise import row
from bpx.spec import Op, Options, Reject, number, require

PATH = "activations/piecewise"

relu = row(
    "relu",
    PATH,
    """Rectified linear unit.

    y = max(x, 0)

Keeps y, which is positive where x is: the next layer keeps the same array as its input.
Source: Nair, Hinton 2010, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML.
""",
    f=lambda x: np.where(x.real <= 0, 0.0, x),
    df=lambda x: np.where(x <= 0, 0.0, 1.0),
    saves="y",
    kinks="0 at 0 (as torch and jax.nn); 1 at NaN",
    at=lambda o: (0.0,),
)

leaky_relu = row(
    "leaky_relu",
    PATH,
    """Leaky rectified linear unit.

    y = x                     x > 0
    y = negative_slope x      x <= 0

Keeps where x > 0.
Source: Maas, Hannun, Ng 2013, "Rectifier Nonlinearities Improve Neural Network Acoustic Models",
ICML workshop on deep learning for audio, speech and language processing.
""",
    f=lambda x, negative_slope: np.where(x.real > 0, x, negative_slope * x),
    df=lambda x, negative_slope: np.where(x > 0, 1.0, negative_slope),
    mask=lambda x, negative_slope: x > 0,
    options={"negative_slope": 0.01},
    loud=({"negative_slope": 0.3},),
    kinks="negative_slope at 0 (as torch; jax.nn has 1) and at NaN",
    at=lambda o: (0.0,),
    check=lambda dims, o: number("leaky_relu", "negative_slope", o["negative_slope"]),
    rejects=(
        Reject(
            "negative_slope is '0.1', expected a number", {"x": (2, 3)}, {"negative_slope": "0.1"}
        ),
        Reject("it takes ['negative_slope']", {"x": (2, 3)}, {"alpha": 0.1}),
    ),
)

relu6 = row(
    "relu6",
    PATH,
    """Rectified linear unit capped at 6.

    y = min(max(x, 0), 6)

Keeps y, which lies strictly between 0 and 6 where x does, in every floating dtype.
Source: Krizhevsky 2010, "Convolutional Deep Belief Networks on CIFAR-10".
""",
    f=lambda x: np.where(x.real <= 0, 0.0, np.where(x.real >= 6, 6.0, x)),
    df=lambda x: np.where((x <= 0) | (x >= 6), 0.0, 1.0),
    saves="y",
    kinks="0 at 0 and at 6 (as torch and jax.nn); 1 at NaN",
    at=lambda o: (0.0, 6.0),
)


def _hardtanh_check(dims: Dims, o: Options) -> None:
    number("hardtanh", "min_val", o["min_val"])
    number("hardtanh", "max_val", o["max_val"])
    require(
        o["min_val"] <= o["max_val"],
        f"hardtanh: min_val is {o['min_val']}, expected at most max_val, which is {o['max_val']}",
    )


hardtanh = row(
    "hardtanh",
    PATH,
    """Clipping to an interval.

    y = min(max(x, min_val), max_val)

Keeps x: in half precision y is max_val rounded, which may lie below max_val.
Source: Collobert 2004, "Large Scale Machine Learning", thesis, Universite Paris VI.
""",
    f=lambda x, min_val, max_val: np.where(
        x.real <= min_val, min_val, np.where(x.real >= max_val, max_val, x)
    ),
    df=lambda x, min_val, max_val: np.where((x <= min_val) | (x >= max_val), 0.0, 1.0),
    options={"min_val": -1.0, "max_val": 1.0},
    loud=({"min_val": -0.5, "max_val": 1.5},),
    kinks="0 at min_val and at max_val (as torch; jax.nn has 1); 1 at NaN",
    at=lambda o: (o["min_val"], o["max_val"]),
    check=_hardtanh_check,
    rejects=(
        Reject("min_val is 2.0, expected at most max_val", {"x": (2, 3)}, {"min_val": 2.0}),
        Reject("max_val is None, expected a number", {"x": (2, 3)}, {"max_val": None}),
        Reject("it takes ['min_val', 'max_val']", {"x": (2, 3)}, {"min": 0.0}),
    ),
)

hardsigmoid = row(
    "hardsigmoid",
    PATH,
    """Piecewise linear sigmoid.

    y = min(max(x + 3, 0), 6) / 6

Source: Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244, section 5.2; slope and
ends as in torch.nn.Hardsigmoid.
""",
    f=lambda x: np.where(x.real <= -3, 0.0, np.where(x.real >= 3, 1.0, (x + 3) / 6)),
    df=lambda x: np.where((x <= -3) | (x >= 3), 0.0, 1 / 6),
    kinks="0 at -3 and at 3 (as torch and jax.nn); 1/6 at NaN (torch 0)",
    at=lambda o: (-3.0, 3.0),
)

hardswish = row(
    "hardswish",
    PATH,
    """Piecewise quadratic swish.

    y = x min(max(x + 3, 0), 6) / 6

Source: Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244, section 5.2.
""",
    f=lambda x: np.where(x.real <= -3, 0.0, np.where(x.real >= 3, x, x * (x + 3) / 6)),
    df=lambda x: np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, (x + 3) / 6 + x / 6)),
    kinks="0 at -3, 1 at 3 (as torch and jax.nn)",
    at=lambda o: (-3.0, 3.0),
)

relu_squared = row(
    "relu_squared",
    PATH,
    """Squared rectified linear unit.

    y = max(x, 0)^2

The derivative is continuous; its own derivative at 0 is given as 0.
Source: So et al. 2021, "Primer: Searching for Efficient Transformers for Language Modeling",
arXiv:2109.08668.
""",
    f=lambda x: np.where(x.real <= 0, 0.0, x) ** 2,
    df=lambda x: 2 * np.where(x <= 0, 0.0, x),
)


def _hardshrink_check(dims: Dims, o: Options) -> None:
    number("hardshrink", "lambd", o["lambd"])
    require(o["lambd"] >= 0, f"hardshrink: lambd is {o['lambd']}, expected at least 0")


hardshrink = row(
    "hardshrink",
    PATH,
    """Hard shrinkage.

    y = 0      |x| <= lambd
    y = x      |x| >  lambd

Source: Donoho, Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81(3).
""",
    f=lambda x, lambd: np.where(np.abs(x.real) <= lambd, 0.0, x),
    df=lambda x, lambd: np.where(np.abs(x) <= lambd, 0.0, 1.0),
    options={"lambd": 0.5},
    loud=({"lambd": 1.25},),
    kinks="0 at -lambd and at lambd (as torch); 1 at NaN",
    at=lambda o: (-o["lambd"], o["lambd"]),
    check=_hardshrink_check,
    rejects=(
        Reject("lambd is -0.5, expected at least 0", {"x": (2, 3)}, {"lambd": -0.5}),
        Reject("lambd is None, expected a number", {"x": (2, 3)}, {"lambd": None}),
        Reject("it takes ['lambd']", {"x": (2, 3)}, {"lambda_": 0.5}),
    ),
)


ALL: tuple[Op, ...] = (
    relu,
    leaky_relu,
    relu6,
    hardtanh,
    hardsigmoid,
    hardswish,
    relu_squared,
    hardshrink,
)
