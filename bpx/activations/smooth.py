"""Smooth activations: a derivative table, one row to a function.

Written with e^-|x| or with complementary functions, so that for |x| up to 1e4 no branch overflows
and the tail that tends to zero keeps its digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.elementwise import row
from bpx.spec import Op, Options, Reject, number, one_of, require
from bpx.special import erfc, log1p

PATH = "activations/smooth"

SQRT_HALF, SQRT_2_PI = 0.7071067811865476, 2.5066282746310002
SQRT_2_OVER_PI, CUBIC = 0.7978845608028654, 0.044715


def _exp_minus_abs(x: Any) -> Any:
    return np.exp(np.where(x.real < 0, x, -x))


def _sigmoid(x: Any) -> Any:
    t = _exp_minus_abs(x)
    return np.where(x.real < 0, t, 1.0) / (1.0 + t)


def _dsigmoid(x: Any) -> Any:
    t = _exp_minus_abs(x)
    return t / (1.0 + t) ** 2  # even in x


def _softplus(x: Any) -> Any:
    return np.where(x.real < 0, 0.0, x) + log1p(_exp_minus_abs(x))


def _dtanh(x: Any) -> Any:
    t = _exp_minus_abs(2 * x)
    return 4 * t / (1.0 + t) ** 2  # 1 / cosh^2


sigmoid = row(
    "sigmoid",
    PATH,
    """Logistic sigmoid.

    y = 1 / (1 + e^-x)

Keeps x, not y: y rounds to 1 in the upper tail, where y (1 - y) would be 0.
Source: elementary; d sigmoid(x) / dx = sigmoid(x) sigmoid(-x).
""",
    f=_sigmoid,
    df=_dsigmoid,
)

tanh = row(
    "tanh",
    PATH,
    """Hyperbolic tangent.

    y = (e^x - e^-x) / (e^x + e^-x)

Keeps x, not y: y rounds to 1 in the tails, where 1 - y^2 would be 0.
Source: elementary; d tanh(x) / dx = 1 / cosh(x)^2.
""",
    f=np.tanh,
    df=_dtanh,
)


def _softplus_check(dims: Dims, o: Options) -> None:
    number("softplus", "beta", o["beta"])
    number("softplus", "threshold", o["threshold"])
    require(o["beta"] != 0, f"softplus: beta is {o['beta']}, expected a number other than 0")


softplus = row(
    "softplus",
    PATH,
    """Softplus.

    y = log(1 + e^(beta x)) / beta    where beta x <= threshold
    y = x                             where beta x > threshold

As in torch, y is exactly x and the derivative exactly 1 above the threshold, though nothing
overflows without it either: the output steps by log(1 + e^-threshold) / beta there. threshold=inf
switches it off.
Source: Dugas et al. 2001, "Incorporating Second-Order Functional Knowledge for Better Option
Pricing", NeurIPS 13; beta and threshold as in torch.nn.functional.softplus.
""",
    f=lambda x, beta, threshold: np.where(beta * x.real > threshold, x, _softplus(beta * x) / beta),
    df=lambda x, beta, threshold: np.where(
        beta * x > threshold, 1.0, _sigmoid(beta * x) * beta / beta
    ),
    options={"beta": 1.0, "threshold": 20.0},
    loud=({"beta": 2.5, "threshold": 5.0}, {"beta": -0.5}),
    check=_softplus_check,
    kinks="the lower branch where beta x = threshold",
    at=lambda o: (o["threshold"] / o["beta"],),
    rejects=(
        Reject("beta is 0, expected a number other than 0", {"x": (2, 3)}, {"beta": 0}),
        Reject("threshold is 'none', expected a number", {"x": (2, 3)}, {"threshold": "none"}),
        Reject("it takes ['beta', 'threshold']", {"x": (2, 3)}, {"sharpness": 2.0}),
    ),
)

log_sigmoid = row(
    "log_sigmoid",
    PATH,
    """Logarithm of the logistic sigmoid.

    y = log(1 / (1 + e^-x)) = min(x, 0) - log(1 + e^-|x|)

Source: elementary; d log sigmoid(x) / dx = sigmoid(-x).
""",
    f=lambda x: -_softplus(-x),
    df=lambda x: _sigmoid(-x),
)

silu = row(
    "silu",
    PATH,
    """Sigmoid linear unit, also called swish.

    y = x sigmoid(x)

Source: Elfwing, Uchibe, Doya 2018, "Sigmoid-Weighted Linear Units for Neural Network Function
Approximation in Reinforcement Learning", arXiv:1702.03118, section 2.
""",
    f=lambda x: x * _sigmoid(x),
    df=lambda x: _sigmoid(x) + x * _dsigmoid(x),
)

mish = row(
    "mish",
    PATH,
    """Mish.

    y = x tanh(log(1 + e^x))

Source: Misra 2019, "Mish: A Self Regularized Non-Monotonic Activation Function", arXiv:1908.08681.
""",
    f=lambda x: x * np.tanh(_softplus(x)),
    df=lambda x: np.tanh(_softplus(x)) + x * _dtanh(_softplus(x)) * _sigmoid(x),
)


def _gelu(x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        return x * _sigmoid(2 * SQRT_2_OVER_PI * (x + CUBIC * x**3))
    return x * 0.5 * erfc(-x * SQRT_HALF)


def _dgelu(x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        u = 2 * SQRT_2_OVER_PI * (x + CUBIC * x**3)
        near = np.clip(x, -30.0, 30.0)  # dsigmoid(u) is 0 beyond, where x^2 overflows at last
        return _sigmoid(u) + near * _dsigmoid(u) * 2 * SQRT_2_OVER_PI * (1 + 3 * CUBIC * near**2)
    return 0.5 * erfc(-x * SQRT_HALF) + x * np.exp(-0.5 * x**2) / SQRT_2_PI


gelu = row(
    "gelu",
    PATH,
    """Gaussian error linear unit.

    y = x Phi(x),  Phi(x) = erfc(-x / sqrt(2)) / 2                        approximate="none"
    y = x (1 + tanh(u)) / 2,  u = sqrt(2 / pi) (x + 0.044715 x^3)         approximate="tanh"

(1 + tanh(u)) / 2 is computed as sigmoid(2u), and Phi from erfc, which keep the lower tail. The
default is torch's; jax.nn.gelu approximates by default.
Source: Hendrycks, Gimpel 2016, "Gaussian Error Linear Units (GELUs)", arXiv:1606.08415, section 2.
""",
    f=_gelu,
    df=_dgelu,
    options={"approximate": "none"},
    loud=({"approximate": "tanh"},),
    check=lambda dims, o: one_of("gelu", "approximate", o["approximate"], ("none", "tanh")),
    rejects=(
        Reject(
            "approximate is 'erf', expected one of ['none', 'tanh']",
            {"x": (2, 3)},
            {"approximate": "erf"},
        ),
    ),
)

softsign = row(
    "softsign",
    PATH,
    """Softsign.

    y = x / (1 + |x|)

The derivative is continuous, 1 at 0; the second one jumps there.
Source: Bergstra, Desjardins, Lamblin, Bengio 2009, "Quadratic Polynomials Learn Better Image
Features", Universite de Montreal, technical report 1337.
""",
    f=lambda x: x / (1.0 + np.where(x.real < 0, -x, x)),
    df=lambda x: 1.0 / (1.0 + np.abs(x)) ** 2,
)

arctan = row(
    "arctan",
    PATH,
    """Inverse tangent, between -pi/2 and pi/2.

    y = arctan(x)

Its tails are heavy: the derivative falls as 1 / x^2. Where x^2 overflows the derivative is 0.
Source: elementary; d arctan(x) / dx = 1 / (1 + x^2).
""",
    f=np.arctan,
    df=lambda x: 1.0 / (1.0 + x * x),
)

ALL: tuple[Op, ...] = (sigmoid, tanh, softplus, log_sigmoid, silu, mish, gelu, softsign, arctan)
