"""Constants: zeros, ones, and one value.

    w = 0,   w = 1,   w = val

`val` is a number, or an array that broadcasts to the shape. A key is not used and may be None.
Zeros suit biases; a layer of zero weights gives every unit the same gradient, and they stay equal.
Source: the symmetry is in Rumelhart, Hinton, Williams 1986, "Learning representations by
back-propagating errors", Nature 323.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.spec import Initializer, Options, Reject, require

Shape = tuple[int, ...]


def zeros_from_noise(noise: Any, shape: Shape) -> Any:
    return np.zeros(shape)


def ones_from_noise(noise: Any, shape: Shape) -> Any:
    return np.ones(shape)


def constant_from_noise(noise: Any, shape: Shape, *, val: Any) -> Any:
    return np.broadcast_to(np.asarray(val, np.float64), shape).copy()


def check_constant(shape: Shape, options: Options) -> None:
    val = np.asarray(options["val"])
    require(
        val.dtype.kind in "biuf",
        f"constant: val is {options['val']!r}, expected a number or an array",
    )
    fits = val.ndim <= len(shape) and all(
        n in (1, m) for n, m in zip(val.shape[::-1], shape[::-1], strict=False)
    )
    require(fits, f"constant: val has shape {val.shape}, expected one that broadcasts to {shape}")


ZEROS = Initializer(
    name="zeros", path="initializers/constant", doc=__doc__, options={}, from_noise=zeros_from_noise
)
ONES = Initializer(
    name="ones", path="initializers/constant", doc=__doc__, options={}, from_noise=ones_from_noise
)
CONSTANT = Initializer(
    name="constant",
    path="initializers/constant",
    doc=__doc__,
    options={"val": 0.0},
    from_noise=constant_from_noise,
    check=check_constant,
    trials=({}, {"val": -1.7}),
    rejects=(
        Reject("constant: val is 'a', expected a number", {"shape": (2, 3)}, {"val": "a"}),
        Reject(
            "constant: val has shape (2,), expected one that broadcasts to (2, 3)",
            {"shape": (2, 3)},
            {"val": (0.5, 1.5)},
        ),
    ),
)
