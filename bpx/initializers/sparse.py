"""Sparse: a matrix in which a share of every column is zero.

    z, y   standard normal, independent
    k      = ceil(sparsity rows)
    w      = 0        in the k rows of a column that have the smallest y
           = std z    in the others

The rows of zeros are drawn for each column anew: the order of independent y is a random one. The
columns are those of torch's (out, in): each of the inputs meets rows - k units, and it is the same
number for all inputs. ceil is that of the product in float64, as in torch: 0.55 of 100 rows is 56.
Source: Martens 2010, "Deep learning via Hessian-free optimization", ICML, section 5, with the
count of torch.nn.init.sparse_.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpx.initializers._limits import finite, non_negative
from bpx.spec import Initializer, Options, Reject, require

Shape = tuple[int, ...]


def from_noise(noise: Any, shape: Shape, *, sparsity: float, std: float) -> Any:
    rows, _ = shape
    z, y = noise("normal", (2, *shape))
    k = math.ceil(sparsity * rows)
    w = std * z
    np.put_along_axis(w, np.argsort(y, axis=0, kind="stable")[:k], 0.0, axis=0)
    return w


def moments(shape: Shape, *, sparsity: float, std: float) -> tuple[float, float]:
    rows = max(shape[0], 1)
    kept = rows - math.ceil(sparsity * rows)
    return 0.0, std * math.sqrt(kept / rows)


def check(shape: Shape, options: Options) -> None:
    require(len(shape) == 2, f"sparse: shape is {shape}, expected 2 axes")
    finite("sparse", options, "sparsity")
    non_negative("sparse", options, "std")
    sparsity = options["sparsity"]
    require(0 <= sparsity <= 1, f"sparse: sparsity is {sparsity!r}, expected a share in 0 to 1")


SPEC = Initializer(
    name="sparse",
    path="initializers/sparse",
    doc=__doc__,
    options={"sparsity": 0.9, "std": 0.01},
    from_noise=from_noise,
    moments=moments,
    check=check,
    trials=({}, {"sparsity": 0.3, "std": 1.7}, {"sparsity": 0.0}, {"sparsity": 1}),
    rejects=(
        Reject("sparse: shape is (3,), expected 2 axes", {"shape": (3,)}),
        Reject("sparse: sparsity is 1.1, expected", {"shape": (3, 4)}, {"sparsity": 1.1}),
        Reject("sparse: sparsity is '1', expected", {"shape": (3, 4)}, {"sparsity": "1"}),
        Reject("sparse: std is -1, expected a number at", {"shape": (3, 4)}, {"std": -1}),
    ),
)
