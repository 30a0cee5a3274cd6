"""Normal with a mean and a standard deviation, truncated to an interval.

    lower, upper = (a - mean) / std, (b - mean) / std      bounds="absolute"
                 = a, b                                    bounds="sigma"
    w = mean + std x,   x standard normal truncated to [lower, upper]

`std` is that of the normal before it is truncated. In torch the bounds are absolute, in JAX and
keras they count standard deviations: with std=0.02 and the same a=-2, b=2 torch cuts nothing off.
Source: torch.nn.init.trunc_normal_; jax.nn.initializers.truncated_normal; drawn by inversion,
Devroye 1986, "Non-uniform random variate generation", section II.2.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from bpx.initializers import _truncated
from bpx.initializers._limits import finite
from bpx.spec import Initializer, Options, Reject, one_of, require

Shape = tuple[int, ...]


def _interval(mean: float, std: float, a: float, b: float, bounds: str) -> tuple[float, float]:
    return ((a - mean) / std, (b - mean) / std) if bounds == "absolute" else (a, b)


def from_noise(
    noise: Any, shape: Shape, *, mean: float, std: float, a: float, b: float, bounds: str
) -> Any:
    lower, upper = _interval(mean, std, a, b, bounds)
    w = mean + std * _truncated.truncated(noise("uniform", shape), lower, upper)
    return np.clip(w, a, b) if bounds == "absolute" else w


def moments(
    shape: Shape, *, mean: float, std: float, a: float, b: float, bounds: str
) -> tuple[float, float]:
    m, s = _truncated.moments(*_interval(mean, std, a, b, bounds))
    return mean + std * m, std * s


def check(shape: Shape, options: Options) -> None:
    finite("truncated_normal", options, "mean", "std")
    one_of("truncated_normal", "bounds", options["bounds"], ("absolute", "sigma"))
    std, a, b = options["std"], options["a"], options["b"]
    require(std > 0, f"truncated_normal: std is {std!r}, expected a number above 0")
    ordered = isinstance(a, Real) and isinstance(b, Real) and float(a) < float(b)
    require(ordered, f"truncated_normal: b is {b!r}, expected a number above a = {a!r}")
    lower, upper = _interval(options["mean"], std, a, b, options["bounds"])
    require(
        _truncated.mass(lower, upper) > 0,
        f"truncated_normal: [a, b] is [{a!r}, {b!r}], which is {lower:.4g} to {upper:.4g} sigma "
        "from the mean, expected a part of the normal with some probability",
    )


SPEC = Initializer(
    name="truncated_normal",
    path="initializers/truncated_normal",
    doc=__doc__,
    options={"mean": 0.0, "std": 1.0, "a": -2.0, "b": 2.0, "bounds": "absolute"},
    from_noise=from_noise,
    moments=moments,
    check=check,
    trials=(
        {},
        {"std": 0.02},
        {"mean": 0.3, "std": 0.5, "a": -0.6, "b": 0.7},
        {"mean": -0.2, "std": 0.1, "a": 1.0, "b": 3.0, "bounds": "sigma"},
        {"a": -float("inf"), "b": -0.5},
    ),
    rejects=(
        Reject("std is 0, expected a number above 0", {"shape": (3,)}, {"std": 0}),
        Reject("b is -3, expected a number above a = -2.0", {"shape": (3,)}, {"b": -3}),
        Reject("bounds is 'relative', expected one of", {"shape": (3,)}, {"bounds": "relative"}),
        Reject("mean is inf, expected a finite", {"shape": (3,)}, {"mean": float("inf")}),
        Reject("is [40.0, 41.0], which is 40 to 41", {"shape": (3,)}, {"a": 40.0, "b": 41.0}),
    ),
)
