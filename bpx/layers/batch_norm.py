r"""Batch normalisation, for training and for inference.

    mean, var = mean_BS(x), mean_BS((x - mean)^2)      training
    mean, var = running_mean, running_var              inference
    rstd      = 1 / sqrt(var + eps)
    y         = (x - mean) * rstd * weight + bias

x is (B C *S); mean_BS is taken over all axes but C, and every vector is one number for each
channel. In training the variance is biased and takes a second pass over x - mean, so that a large
mean costs no digits; over nothing both are 0; over one value x - mean is 0 and nothing is learned,
which is refused. The residuals mean and var are what running statistics are updated with, by the
caller: training takes no running statistics, and inference keeps no residuals.
Source: Ioffe, Szegedy 2015, "Batch Normalization", arXiv:1502.03167, algorithms 1 and 2; eps as in
torch.nn.BatchNorm1d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, number, require
from bpx.special import inverse_root


def forward(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    *,
    training: bool,
    eps: float,
) -> Any:
    n, rest = count(x), (0, *range(2, x.ndim))
    if training:
        mean = x.sum(rest) / n
        xc = x - channelwise(mean, x)
        var = (xc * xc).sum(rest) / n
    else:
        require(running_mean is not None and running_var is not None, f"{NAME}: {WITHOUT}")
        mean, var = running_mean, running_var
        xc = x - channelwise(mean, x)
    rstd = inverse_root(var + eps)
    xhat = xc * channelwise(rstd, x)
    y = xhat * (1 if weight is None else channelwise(weight, x))
    y = y + (0 if bias is None else channelwise(bias, x))
    return y, (mean, rstd, var) if training else (mean[:0], rstd[:0], var[:0])


def backward(
    dy: Any,
    x: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    *,
    training: bool,
    eps: float,
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    n, rest = count(x), (0, *range(2, x.ndim))
    if training:
        _, (mean, rstd, _) = forward(x, weight, bias, training=training, eps=eps)
    else:
        mean, rstd = running_mean, inverse_root(running_var + eps)
    xc = x - channelwise(mean, x)
    dbias = None if bias is None else dy.sum(rest)  # y = y + bias
    dweight = None if weight is None else (dy * (xc * channelwise(rstd, x))).sum(rest)
    dxhat = dy if weight is None else dy * channelwise(weight, x)  # y = xhat * weight
    drstd = (dxhat * xc).sum(rest)  # xhat = xc * rstd
    dxc = dxhat * channelwise(rstd, x)
    dvar = drstd * -0.5 * rstd**3  # rstd = (var + eps)^(-1/2)
    if not training:
        dx = dxc  # xc = x - mean
        dmean = -dxc.sum(rest)
        return dx, dweight, dbias, dmean, dvar  # mean, var = running_mean, running_var
    dxc = dxc + channelwise(dvar, x) * 2 * xc / n  # var = sum(xc^2) / n
    dx = dxc  # xc = x - mean
    dmean = -dxc.sum(rest)
    dx = dx + channelwise(dmean, x) / n  # mean = sum(x) / n
    return dx, dweight, dbias, None, None


def count(x: Any) -> int:
    """Values of one channel, 1 at least."""
    return max(x.shape[0] * math.prod(x.shape[2:]), 1)


def channelwise(v: Any, x: Any) -> Any:
    """A vector over C beside x (B C *S)."""
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))


def cases(draw: Any) -> Iterator[Case]:
    train = {"training": True}
    yield Case("3d", {"x": draw(2, 3, 4), "weight": draw(3), "bias": draw(3)}, train)
    yield Case("2d, loud eps", {"x": draw(5, 3), "weight": draw(3)}, {**train, "eps": 0.3})
    yield Case("no batch", {"x": draw(0, 3, 2), "weight": draw(3), "bias": draw(3)}, train)
    yield Case("far from zero", {"x": draw(4, 3) + 1e3, "weight": None, "bias": draw(3)}, train)
    running = {"running_mean": draw(3), "running_var": draw.uniform(3)}
    full = {"x": draw(2, 3, 4, 2), "weight": draw(3), "bias": draw(3), **running}
    yield Case("inference", full)
    yield Case("inference, one value", {"x": draw(1, 3), **running}, {"eps": 0.3})


def check(dims: Dims, o: Options) -> None:
    channels, training = dims["C"], o["training"]
    require(type(training) is bool, f"{NAME}: training is {training!r}, expected True or False")
    number(NAME, "eps", o["eps"])
    require(o["eps"] > 0, f"{NAME}: eps is {o['eps']}, expected a number above 0")
    for name, size in (("running_mean", dims.get("M")), ("running_var", dims.get("V"))):
        if training:
            require(size is None, f"{NAME}: {name} is given, expected None where training is True")
        else:
            require(size is not None, f"{NAME}: {WITHOUT}")
            require(
                size == channels,
                f"{NAME}: {name} has {size} elements, expected the {channels} channels of x",
            )
    dims["E"] = channels if training else 0
    shape = (dims["B"], channels, *dims["S"])
    require(
        not training or dims["B"] * math.prod(dims["S"]) != 1,
        f"{NAME}: x of shape {shape} has 1 value for each channel, expected more in training",
    )


NAME = "batch_norm"
WITHOUT = "running_mean or running_var is None, expected both where training is False"
STATISTICS = {"running_mean": (3,), "running_var": (3,)}

SPEC = Op(
    name=NAME,
    path="layers/batch_norm",
    doc=__doc__,
    args=(
        Arg("x", "B C *S"),
        Arg("weight", "C", optional=True),
        Arg("bias", "C", optional=True),
        # M and V are C: names of their own tell `check` whether they are there
        Arg("running_mean", "M", optional=True),
        Arg("running_var", "V", optional=True, domain=(0.0, math.inf)),
    ),
    out="B C *S",
    residuals={"mean": "E", "rstd": "E", "var": "E"},
    saves=("x", "weight", "running_mean", "running_var"),
    options={"training": False, "eps": 1e-5},
    check=check,
    rejects=(
        Reject("x of shape (1, 3) has 1 value for each channel", {"x": (1, 3)}, {"training": True}),
        Reject("x of shape (1, 3, 1) has 1 value", {"x": (1, 3, 1)}, {"training": True}),
        Reject(WITHOUT, {"x": (2, 3)}),
        Reject(WITHOUT, {"x": (2, 3), "running_mean": (3,)}),
        Reject(
            "running_mean is given, expected None where training is True",
            {"x": (2, 3), **STATISTICS},
            {"training": True},
        ),
        Reject(
            "running_var has 1 elements, expected the 3 channels of x",
            {"x": (2, 3), **STATISTICS, "running_var": (1,)},
        ),
        Reject("weight has shape (4,), but dim C is 3", {"x": (2, 3), "weight": (4,)}),
        Reject("x has shape (3,), expected (B C *S)", {"x": (3,)}),
        Reject("training is 1, expected True or False", {"x": (2, 3)}, {"training": 1}),
        Reject("eps is 0, expected", {"x": (2, 3)}, {"training": True, "eps": 0}),
        Reject("eps is None, expected", {"x": (2, 3)}, {"training": True, "eps": None}),
        Reject("it takes ['training', 'eps']", {"x": (2, 3)}, {"momentum": 0.1}),
    ),
    bench={
        "small": {"B": 8, "C": 64, "S": 64, "training": True},
        "typical": {"B": 16, "C": 64, "S": (28, 28), "training": True},
        "large": {"B": 32, "C": 128, "S": (32, 32), "training": True},
        "odd": {"B": 3, "C": 33, "S": (7, 9), "training": True},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
