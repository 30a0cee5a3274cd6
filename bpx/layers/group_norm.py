r"""Group normalisation over groups of channels.

    mean = mean_GS(x)
    rstd = 1 / sqrt(mean_GS((x - mean)^2) + eps)
    y    = (x - mean) * rstd * weight + bias

x is (B C *S). The C channels are split into num_groups groups of neighbours; mean_GS is taken over
one group and all of S, separately for each of B. weight and bias are one number for each channel.
The variance is biased and takes a second pass over x - mean, so that a large mean costs no digits.
A group of one value gives bias, with gradient 0 for x.
Source: Wu, He 2018, "Group Normalization", arXiv:1803.08494, equations 1 to 7, num_groups = 32 from
section 4; eps as in torch.nn.GroupNorm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, number, require
from bpx.special import inverse_root


def grouped(x: Any, num_groups: int) -> Any:
    """x (B C *S) as (B, num_groups, values of a group)."""
    each = x.shape[1] // num_groups * math.prod(x.shape[2:])
    return x.reshape(x.shape[0], num_groups, each)


def channelwise(v: Any, x: Any) -> Any:
    """A vector over C beside x (B C *S)."""
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))


def forward(x: Any, weight: Any = None, bias: Any = None, *, num_groups: int, eps: float) -> Any:
    xg = grouped(x, num_groups)
    n = max(xg.shape[2], 1)
    mean = xg.sum(2) / n
    xc = xg - mean[..., None]
    var = (xc * xc).sum(2) / n
    rstd = inverse_root(var + eps)
    xhat = (xc * rstd[..., None]).reshape(x.shape)
    y = xhat * (1 if weight is None else channelwise(weight, x))
    y = y + (0 if bias is None else channelwise(bias, x))
    return y, (mean, rstd)


def backward(
    dy: Any, x: Any, weight: Any = None, bias: Any = None, *, num_groups: int, eps: float
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    _, (mean, rstd) = forward(x, weight, bias, num_groups=num_groups, eps=eps)
    xg = grouped(x, num_groups)
    n, rest = max(xg.shape[2], 1), (0, *range(2, x.ndim))
    xc = xg - mean[..., None]
    xhat = (xc * rstd[..., None]).reshape(x.shape)
    dbias = None if bias is None else dy.sum(rest)  # y = y + bias
    dweight = None if weight is None else (dy * xhat).sum(rest)  # y = xhat * weight
    dxhat = grouped(dy if weight is None else dy * channelwise(weight, x), num_groups)
    drstd = (dxhat * xc).sum(2)  # xhat = xc * rstd
    dxc = dxhat * rstd[..., None]
    dvar = drstd * -0.5 * rstd**3  # rstd = (var + eps)^(-1/2)
    dxc = dxc + dvar[..., None] * 2 * xc / n  # var = sum(xc^2) / n
    dxg = dxc  # xc = xg - mean
    dmean = -dxc.sum(2)
    dxg = dxg + dmean[..., None] / n  # mean = sum(xg) / n
    return dxg.reshape(x.shape), dweight, dbias  # xg = grouped(x)


def cases(draw: Any) -> Iterator[Case]:
    two = {"num_groups": 2}
    full = {"x": draw(3, 4, 5), "weight": draw(4), "bias": draw(4)}
    yield Case("3d", full, two)
    image = {"x": draw(2, 6, 3, 2), "weight": draw(6), "bias": None}
    yield Case("4d, loud eps", image, {"num_groups": 3, "eps": 0.3})
    yield Case("no S", {"x": draw(2, 6), "weight": None, "bias": draw(6)}, two)
    yield Case("one group", {"x": draw(2, 3, 4), "weight": None, "bias": None}, {"num_groups": 1})
    yield Case("no batch", {"x": draw(0, 4, 3), "weight": draw(4), "bias": draw(4)}, two)
    yield Case("one of each", {"x": draw(1, 6, 1), "weight": draw(6), "bias": None}, two)
    far = {"x": draw(2, 4, 5) + 1e3, "weight": draw(4), "bias": draw(4)}
    yield Case("far from zero", far, two)


def check(dims: Dims, o: Options) -> None:
    channels, groups = dims["C"], o["num_groups"]
    require(
        type(groups) is int and groups > 0 and channels % groups == 0,
        f"group_norm: num_groups is {groups!r}, expected a divisor of the {channels} channels of x",
    )
    number("group_norm", "eps", o["eps"])
    require(o["eps"] > 0, f"group_norm: eps is {o['eps']}, expected a number above 0")
    dims["G"] = groups


SPEC = Op(
    name="group_norm",
    path="layers/group_norm",
    doc=__doc__,
    args=(
        Arg("x", "B C *S"),
        Arg("weight", "C", optional=True),
        Arg("bias", "C", optional=True),
    ),
    out="B C *S",
    residuals={"mean": "B G", "rstd": "B G"},
    saves=("x", "weight"),
    options={"num_groups": 32, "eps": 1e-5},
    check=check,
    rejects=(
        Reject("num_groups is 32, expected a divisor of the 6 channels of x", {"x": (2, 6, 3)}),
        Reject("num_groups is 4, expected a div", {"x": (2, 6, 3)}, {"num_groups": 4}),
        Reject("num_groups is 0, expected a div", {"x": (2, 6, 3)}, {"num_groups": 0}),
        Reject("num_groups is 2.0, expected a div", {"x": (2, 6, 3)}, {"num_groups": 2.0}),
        Reject("weight has shape (4,), but dim C is 6", {"x": (2, 6), "weight": (4,)}),
        Reject("bias has shape (6, 1), expected (C)", {"x": (2, 6), "bias": (6, 1)}),
        Reject("x has shape (6,), expected (B C *S)", {"x": (6,)}),
        Reject("eps is 0, expected a number above 0", {"x": (2, 6)}, {"num_groups": 2, "eps": 0}),
        Reject("eps is None, expected", {"x": (2, 6)}, {"num_groups": 2, "eps": None}),
        Reject("it takes ['num_groups', 'eps']", {"x": (2, 6)}, {"groups": 2}),
    ),
    bench={
        "small": {"B": 4, "C": 64, "S": 64},
        "typical": {"B": 8, "C": 128, "S": (28, 28)},
        "large": {"B": 16, "C": 256, "S": (32, 32)},
        "odd": {"B": 3, "C": 96, "S": (7, 9)},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
