"""Normal with a mean and a standard deviation.

    w = mean + std z,   z standard normal

torch's std is 1, jax.nn.initializers.normal's 1e-2, keras' 0.05.
Source: torch.nn.init.normal_.
"""

from __future__ import annotations

from typing import Any

from bpx.initializers._limits import finite, non_negative
from bpx.spec import Initializer, Options, Reject

Shape = tuple[int, ...]


def from_noise(noise: Any, shape: Shape, *, mean: float, std: float) -> Any:
    return mean + std * noise("normal", shape)


def moments(shape: Shape, *, mean: float, std: float) -> tuple[float, float]:
    return mean, std


def check(shape: Shape, options: Options) -> None:
    finite("normal", options, "mean")
    non_negative("normal", options, "std")


SPEC = Initializer(
    name="normal",
    path="initializers/normal",
    doc=__doc__,
    options={"mean": 0.0, "std": 1.0},
    from_noise=from_noise,
    moments=moments,
    check=check,
    trials=({}, {"mean": 0.4, "std": 0.02}),
    rejects=(
        Reject("normal: std is -1, expected a number at least 0", {"shape": (3,)}, {"std": -1}),
        Reject("normal: mean is 'a', expected a finite number", {"shape": (3,)}, {"mean": "a"}),
    ),
)
