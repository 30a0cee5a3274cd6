"""Uniform between two bounds.

    w = a + (b - a) u,   u uniform in [0, 1)

b itself comes out only where the rounding to the dtype meets it. torch's bounds are a=0, b=1;
jax.nn.initializers.uniform(scale) is a=0, b=scale with scale 1e-2.
Source: torch.nn.init.uniform_.
"""

from __future__ import annotations

import math
from typing import Any

from bpx.initializers._limits import finite
from bpx.spec import Initializer, Options, Reject, require

Shape = tuple[int, ...]


def from_noise(noise: Any, shape: Shape, *, a: float, b: float) -> Any:
    return a + (b - a) * noise("uniform", shape)


def moments(shape: Shape, *, a: float, b: float) -> tuple[float, float]:
    return 0.5 * (a + b), (b - a) / math.sqrt(12.0)


def check(shape: Shape, options: Options) -> None:
    finite("uniform", options, "a", "b")
    a, b = options["a"], options["b"]
    require(a <= b, f"uniform: b is {b!r}, expected a number at least a = {a!r}")


SPEC = Initializer(
    name="uniform",
    path="initializers/uniform",
    doc=__doc__,
    options={"a": 0.0, "b": 1.0},
    from_noise=from_noise,
    moments=moments,
    check=check,
    trials=({}, {"a": -0.7, "b": 2.1}),
    rejects=(
        Reject("uniform: b is -1, expected a number at least a = 0.0", {"shape": (3,)}, {"b": -1}),
        Reject("uniform: a is nan, expected a finite number", {"shape": (3,)}, {"a": float("nan")}),
        Reject("uniform: shape is (-1,), expected a tuple of sizes", {"shape": (-1,)}),
        Reject("uniform: unknown option 'low'; it takes ['a', 'b']", {"shape": (3,)}, {"low": 0}),
    ),
)
