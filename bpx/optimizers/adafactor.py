r"""Adafactor: Adam without momentum, its second moment of a matrix held as row and column means.

    keep  = 1 - (t - decay_offset)^beta2_decay         t = 1, 2, ...; the decay of the moments
    scale = min(lr, 1 / sqrt(t)) * max(eps2, rms(p))   rms: root of the mean of squares of an array
    p     <- p - lr * weight_decay * p
    row   <- keep * row + (1 - keep) * mean of g^2 along a row        if factored
    col   <- keep * col + (1 - keep) * mean of g^2 along a column
    v     = row * col / max(mean(row), eps1)           outer product; the mean is along a column
    v     <- keep * v + (1 - keep) * g^2               if not factored
    u     = g / max(sqrt(v), eps1)
    u     <- u / max(1, rms(u) / d)                    clipping
    p     <- p - scale * u

eps is (eps1, eps2); eps1 None is the spacing of 1 in p's dtype. Arrays of at least two dims are
factored: along the last two (rows run along the last), the others are a batch.

* eps_in_square: eps1 is added to g^2, and neither maximum with it is taken (the paper).
* relative_step = False: lr instead of min(lr, 1 / sqrt(t)).
* parameter_scale = False: 1 instead of max(eps2, rms(p)).
* d None: no clipping.
* momentum: m <- momentum * m + (1 - momentum) * scale * u, and p <- p - m.
* decay_by_lr = False: no decay in the third line, and p <- p - ... - weight_decay * p in the last.
* factored = False: no array is. largest_axes: the two longest axes, rows along the longest.
* min_dim_size_to_factor: the shorter of the two axes must have this size.

An element with v = 0 has u = 0; where t <= decay_offset, keep is 0. torch.optim.Adafactor has eps1
outside, and none of these options; optax.adafactor is eps_in_square, relative_step = False,
decay_by_lr = False and largest_axes, with eps (1e-30, 1e-3), size 128 and lr None for 1.

Source: Shazeer, Stern 2018, "Adafactor: adaptive learning rates with sublinear memory cost",
arXiv:1804.04235, algorithms 4 and 5, with sums of rows and columns instead of means (the same v),
eps_in_square, and 0.01 for lr; weight decay and momentum outside the scale are no part of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject, require

Array = NDArray[Any]
State = dict[str, Array]


def axes(shape: tuple[int, ...], options: Options) -> tuple[int, int] | None:
    """The axis that counts the rows and the one that runs along a row; None where not factored."""
    if not options["factored"] or len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=shape.__getitem__)
    down, along = order[-2:] if options["largest_axes"] else (len(shape) - 2, len(shape) - 1)
    return (down, along) if shape[down] >= options["min_dim_size_to_factor"] else None


def mean(x: Array, axis: int | None = None) -> Array:
    """The mean, with dims kept; 0 of nothing."""
    count = x.size if axis is None else x.shape[axis]
    return np.sum(x, axis=axis, keepdims=axis is not None) / max(count, 1)


def init(p: Array, **options: Any) -> State:
    state = {"m": np.zeros_like(p)} if options["momentum"] != 0 else {}
    pair = axes(p.shape, options)
    if pair is None:
        return {**state, "v": np.zeros_like(p)}
    down, along = pair
    square = np.zeros_like(p)
    return {**state, "row": mean(square, along), "col": mean(square, down)}


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    beta2_decay: float,
    eps: tuple[float | None, float],
    d: float | None,
    weight_decay: float,
    eps_in_square: bool,
    relative_step: bool,
    parameter_scale: bool,
    decay_by_lr: bool,
    momentum: float,
    decay_offset: int,
    factored: bool,
    largest_axes: bool,
    min_dim_size_to_factor: int,
) -> tuple[Array, State]:
    eps1: Any = np.finfo(p.dtype).eps if eps[0] is None else eps[0]
    keep = 1 - max(t - decay_offset, 1) ** beta2_decay
    scale: Any = min(lr, t**-0.5) if relative_step else lr
    if parameter_scale:
        scale = scale * np.maximum(eps[1], np.sqrt(mean(p * p)))
    old = p
    if decay_by_lr:
        p = p - lr * weight_decay * p
    square = g * g + eps1 if eps_in_square else g * g
    out = {}
    if "row" in state:
        shape = {"factored": factored, "largest_axes": largest_axes}
        pair = axes(p.shape, {**shape, "min_dim_size_to_factor": min_dim_size_to_factor})
        assert pair is not None
        down, along = pair
        out["row"] = row = keep * state["row"] + (1 - keep) * mean(square, along)
        out["col"] = col = keep * state["col"] + (1 - keep) * mean(square, down)
        middle = mean(row, down) if eps_in_square else np.maximum(mean(row, down), eps1)
        v = row * col / np.where(middle > 0, middle, np.inf)
    else:
        out["v"] = v = keep * state["v"] + (1 - keep) * square
    root = np.sqrt(v) if eps_in_square else np.maximum(np.sqrt(v), eps1)
    u = g / np.where(root > 0, root, np.inf)
    if d is not None:
        u = u / np.maximum(1.0, np.sqrt(mean(u * u)) / d)
    u = scale * u
    if momentum != 0:
        out["m"] = u = momentum * state["m"] + (1 - momentum) * u
    if not decay_by_lr:
        u = u + weight_decay * old
    return p - u, out


def check(options: Options) -> None:
    non_negative("adafactor", options, "lr", "weight_decay", "momentum", "min_dim_size_to_factor")
    decay, eps, d = options["beta2_decay"], options["eps"], options["d"]
    require(decay <= 0, f"adafactor: beta2_decay is {decay!r}, expected a number at most 0")
    require(
        isinstance(eps, (tuple, list))
        and len(eps) == 2
        and (eps[0] is None or eps[0] >= 0)
        and eps[1] is not None
        and eps[1] >= 0,
        f"adafactor: eps is {eps!r}, expected two numbers at least 0 (the first may be None)",
    )
    require(d is None or d >= 1, f"adafactor: d is {d!r}, expected None or a number at least 1")
    momentum = options["momentum"]
    require(momentum < 1, f"adafactor: momentum is {momentum!r}, expected a number below 1")


OPTAX = {
    "eps": (1e-30, 1e-3),
    "eps_in_square": True,
    "relative_step": False,
    "decay_by_lr": False,
    "largest_axes": True,
}

SPEC = Optimizer(
    name="adafactor",
    path="optimizers/adafactor",
    doc=__doc__,
    options={
        "lr": 1e-2,
        "beta2_decay": -0.8,
        "eps": (None, 1e-3),
        "d": 1.0,
        "weight_decay": 0.0,
        "eps_in_square": False,
        "relative_step": True,
        "parameter_scale": True,
        "decay_by_lr": True,
        "momentum": 0.0,
        "decay_offset": 0,
        "factored": True,
        "largest_axes": False,
        "min_dim_size_to_factor": 0,
    },
    state=("row", "col", "v", "m"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.6, "beta2_decay": -0.6, "eps": (1e-3, 0.05), "d": 1.5, "weight_decay": 0.3},
        {"lr": 0.2, "eps": (1e-5, 1e-2), "d": 2.0, "weight_decay": 0.1},
        {**OPTAX, "lr": 0.1, "eps": (1e-4, 1e-3), "weight_decay": 0.05, "momentum": 0.6},
        {**OPTAX, "lr": 0.2, "eps": (0.1, 1e-3), "decay_offset": -3, "min_dim_size_to_factor": 3},
        {**OPTAX, "lr": 0.05, "d": None, "parameter_scale": False, "beta2_decay": -0.7},
        {**OPTAX, "lr": 0.2, "factored": False, "d": 1.2, "weight_decay": 0.02},
    ),
    rejects=(
        Reject("adafactor: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("beta2_decay is 0.8, expected a number at most 0", {}, {"beta2_decay": 0.8}),
        Reject("eps is (-1, 0.001), expected two numbers at least 0", {}, {"eps": (-1, 1e-3)}),
        Reject("eps is (None, None), expected two numbers", {}, {"eps": (None, None)}),
        Reject("d is 0.5, expected None or a number at least 1", {}, {"d": 0.5}),
        Reject("adafactor: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("momentum is 1.0, expected a number below 1", {}, {"momentum": 1.0}),
        Reject("adafactor: momentum is -1, expected a number at least 0", {}, {"momentum": -1}),
        Reject(
            "min_dim_size_to_factor is -1, expected a number at least 0",
            {},
            {"min_dim_size_to_factor": -1},
        ),
    ),
)
