"""Functions that NumPy lacks, or has only for real input.

Complex input is the complex step's: real values with an imaginary part so small that its square
vanishes. There f(a + ib) = f(a) + i b f'(a), which needs no continuation of f into the complex
plane: the terms left out are of order b^2, below rounding for the b = 1e-30 of such a step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])

TWO_OVER_SQRT_PI = 1.1283791670955126


def erf(x: Any) -> Any:
    """Error function."""
    if not np.iscomplexobj(x):
        return _erf(x)
    return _erf(x.real) + 1j * x.imag * TWO_OVER_SQRT_PI * np.exp(-(x.real**2))


def erfc(x: Any) -> Any:
    """Complementary error function."""
    if not np.iscomplexobj(x):
        return _erfc(x)
    return _erfc(x.real) - 1j * x.imag * TWO_OVER_SQRT_PI * np.exp(-(x.real**2))


def log1p(x: Any) -> Any:
    """log(1 + x), also where NumPy's complex log1p would round 1 + x."""
    if not np.iscomplexobj(x):
        return np.log1p(x)
    return np.log1p(x.real) + 1j * x.imag / (1.0 + x.real)


def ndtr(x: Any) -> Any:
    """Standard normal distribution function, accurate in its lower tail."""
    return 0.5 * _erfc(-np.asarray(x, float) / math.sqrt(2.0))


def ndtri(p: Any) -> Any:
    """Inverse of `ndtr` for real p in [0, 1], NaN elsewhere; relative error 1e-15.

    Source: Wichura 1988, "Algorithm AS 241: the percentage points of the normal distribution",
    Applied Statistics 37, routine PPND16.
    """
    p = np.asarray(p, float)
    return _quantile(p - 0.5, np.minimum(p, 1.0 - p))


def erfinv(y: Any) -> Any:
    """Inverse of `erf` for real y in [-1, 1], NaN elsewhere; relative error 1e-15.

    erf(x) = 2 ndtr(sqrt(2) x) - 1. The quantile is taken at y / 2 from the centre and (1 - |y|) / 2
    from the end, both exact where they are used: (1 + y) / 2 would round either one away.
    """
    y = np.asarray(y, float)
    return _quantile(0.5 * y, 0.5 * (1.0 - np.abs(y))) / math.sqrt(2.0)


def _quantile(centred: Any, tail: Any) -> Any:
    """The normal quantile of p, from p - 1/2 and min(p, 1 - p)."""
    out = np.full(centred.shape, np.nan)
    middle = np.abs(centred) <= 0.425
    q = centred[middle]
    out[middle] = q * _ratio(_CENTRE, 0.180625 - q * q)
    outer = ~middle & (tail > 0)
    r = np.sqrt(-np.log(tail[outer]))
    size = np.where(r <= 5.0, _ratio(_TAIL, r - 1.6), _ratio(_FAR_TAIL, r - 5.0))
    out[outer] = np.copysign(size, centred[outer])
    ends = tail == 0
    out[ends] = np.copysign(np.inf, centred[ends])
    return out[()]


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    above, below = coefficients
    return _horner(above, x) / _horner(below, x)


def _horner(coefficients: tuple[float, ...], x: Any) -> Any:
    total = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= x
        total += c
    return total


# AS 241's coefficients, numerator and denominator, from the constant up.
_CENTRE = (
    (
        3.3871328727963666080,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_TAIL = (
    (
        1.42343711074968357734,
        4.63033784615654529590,
        5.76949722146069140550,
        3.64784832476320460504,
        1.27045825245236838258,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187,
        1.67638483018380384940,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR_TAIL = (
    (
        6.65790464350110377720,
        5.46378491116411436990,
        1.78482653991729133580,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def inverse_root(v: Any) -> Any:
    """1 / sqrt(v) of a variance, NaN where it overflowed: 0 would make zeros of its row with a
    zero gradient, without a word."""
    return np.where(np.isinf(v), np.nan, 1.0 / np.sqrt(v))
