r"""Instance normalisation: each channel of each sample by itself.

    mean = mean_S(x)
    var  = mean_S((x - mean)^2)
    rstd = 1 / sqrt(var + eps)
    y    = (x - mean) * rstd * weight + bias

x is (B C *S); weight and bias are one number for each channel. The variance is biased and takes a
second pass over x - mean, so that a large mean costs no digits. Over one value x - mean is 0 and
nothing is learned, which is refused.
Source: Ulyanov, Vedaldi, Lempitsky 2016, "Instance Normalization: The Missing Ingredient for Fast
Stylization", arXiv:1607.08022, equation 2; eps as in torch.nn.InstanceNorm1d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, number, require
from bpx.special import inverse_root


def forward(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    n, places = max(math.prod(x.shape[2:]), 1), tuple(range(2, x.ndim))
    mean = x.sum(places) / n
    xc = x - beside(mean, x)
    var = (xc * xc).sum(places) / n
    rstd = inverse_root(var + eps)
    xhat = xc * beside(rstd, x)
    y = xhat * (1 if weight is None else beside(weight[None], x))
    y = y + (0 if bias is None else beside(bias[None], x))
    return y, (mean, rstd, var)


def backward(dy: Any, x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    n, places = max(math.prod(x.shape[2:]), 1), tuple(range(2, x.ndim))
    _, (mean, rstd, _) = forward(x, weight, bias, eps=eps)
    xc = x - beside(mean, x)
    xhat = xc * beside(rstd, x)
    dbias = None if bias is None else dy.sum((0, *places))  # y = y + bias
    dweight = None if weight is None else (dy * xhat).sum((0, *places))  # y = xhat * weight
    dxhat = dy if weight is None else dy * beside(weight[None], x)
    drstd = (dxhat * xc).sum(places)  # xhat = xc * rstd
    dxc = dxhat * beside(rstd, x)
    dvar = drstd * -0.5 * rstd**3  # rstd = (var + eps)^(-1/2)
    dxc = dxc + beside(dvar, x) * 2 * xc / n  # var = sum(xc^2) / n
    dx = dxc  # xc = x - mean
    dmean = -dxc.sum(places)
    dx = dx + beside(dmean, x) / n  # mean = sum(x) / n
    return dx, dweight, dbias


def beside(v: Any, x: Any) -> Any:
    """An array over (B C) or (1 C) beside x (B C *S)."""
    return v.reshape(v.shape + (1,) * (x.ndim - 2))


def cases(draw: Any) -> Iterator[Case]:
    yield Case("3d", {"x": draw(2, 3, 5), "weight": draw(3), "bias": draw(3)})
    image = {"x": draw(3, 2, 4, 3), "weight": draw(2), "bias": None}
    yield Case("4d, loud eps", image, {"eps": 0.3})
    yield Case("no weight", {"x": draw(2, 3, 5), "weight": None, "bias": draw(3)})
    yield Case("no batch", {"x": draw(0, 3, 4), "weight": draw(3), "bias": draw(3)})
    yield Case("one channel", {"x": draw(1, 1, 5), "weight": draw(1), "bias": draw(1)})
    far = {"x": draw(2, 3, 5) + 1e3, "weight": draw(3), "bias": draw(3)}
    yield Case("far from zero", far)


def check(dims: Dims, o: Options) -> None:
    number("instance_norm", "eps", o["eps"])
    require(o["eps"] > 0, f"instance_norm: eps is {o['eps']}, expected a number above 0")
    shape = (dims["B"], dims["C"], *dims["S"])
    require(
        math.prod(dims["S"]) != 1,
        f"instance_norm: x of shape {shape} has 1 value for each channel, expected more",
    )


SPEC = Op(
    name="instance_norm",
    path="layers/instance_norm",
    doc=__doc__,
    args=(
        Arg("x", "B C *S"),
        Arg("weight", "C", optional=True),
        Arg("bias", "C", optional=True),
    ),
    out="B C *S",
    residuals={"mean": "B C", "rstd": "B C", "var": "B C"},
    saves=("x", "weight"),
    options={"eps": 1e-5},
    check=check,
    rejects=(
        Reject("x of shape (2, 3) has 1 value for each channel", {"x": (2, 3)}),
        Reject("x of shape (2, 3, 1, 1) has 1 value", {"x": (2, 3, 1, 1)}),
        Reject("x has shape (3,), expected (B C *S)", {"x": (3,)}),
        Reject("weight has shape (4,), but dim C is 3", {"x": (2, 3, 5), "weight": (4,)}),
        Reject("bias has shape (3, 1), expected (C)", {"x": (2, 3, 5), "bias": (3, 1)}),
        Reject("eps is 0, expected a number above 0", {"x": (2, 3, 5)}, {"eps": 0}),
        Reject("eps is None, expected a number", {"x": (2, 3, 5)}, {"eps": None}),
        Reject("it takes ['eps']", {"x": (2, 3, 5)}, {"momentum": 0.1}),
    ),
    bench={
        "small": {"B": 4, "C": 32, "S": 64},
        "typical": {"B": 8, "C": 64, "S": (28, 28)},
        "large": {"B": 16, "C": 128, "S": (32, 32)},
        "odd": {"B": 3, "C": 33, "S": (7, 9)},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
