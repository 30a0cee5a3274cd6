"""Variance scaling: the spread of a weight from its fans, so that signals keep their size.

    variance_scaling   variance = scale / n                      n the fan of `mode`
    xavier             variance = gain^2 2 / (fan_in + fan_out)
    kaiming            variance = gain(nonlinearity, a)^2 / n    n = fan_in or fan_out
    lecun              variance = 1 / fan_in

    uniform            w = sqrt(3 variance) (2 u - 1)
    normal             w = sqrt(variance) z
    truncated_normal   w = sqrt(variance) x / 0.8796...          x normal, truncated at 2 sigma

fan_avg and fan_geo_avg are the arithmetic and geometric mean of the fans. 0.8796 is the standard
deviation that truncation leaves, so `variance` is that of the weights. The *_normal entries of
torch are not truncated, those of JAX and keras are: `distribution` chooses (lecun_normal, which
torch does not have, is truncated by default). Axes neither in in_axis, out_axis nor batch_axis are
the receptive field; the defaults are torch's layout (out, in, *field), and JAX's layout is
in_axis=-2, out_axis=-1. A layout says the same as a string: "OIHW", "HWIO", "IOHW" (transposed).
Source: Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural
networks", AISTATS, equation 16 (xavier); He, Zhang, Ren, Sun 2015, arXiv:1502.01852, equations 10,
14, 15 (kaiming); LeCun, Bottou, Orr, Mueller 1998, "Efficient BackProp", equation 16 (lecun).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bpx.initializers import _truncated
from bpx.initializers._fans import NONLINEARITIES, Axes, calculate_gain, check_fans, fans
from bpx.initializers._layout import AXES, LAYOUT_REJECTS, axes, check_layout
from bpx.initializers._limits import finite, non_negative
from bpx.spec import Initializer, Options, Reject, one_of

Shape = tuple[int, ...]
Variance = Callable[[Shape, Options], float]

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("uniform", "normal", "truncated_normal")
CUT = 2.0


def scaled(noise: Any, shape: Shape, variance: float, distribution: str) -> Any:
    """Weights of mean 0 and the given variance."""
    std = math.sqrt(variance)
    if distribution == "uniform":
        bound = math.sqrt(3.0) * std
        return bound * (2.0 * noise("uniform", shape) - 1.0)
    if distribution == "normal":
        return std * noise("normal", shape)
    kept = _truncated.moments(-CUT, CUT)[1]
    return std / kept * _truncated.truncated(noise("uniform", shape), -CUT, CUT)


def _fan(shape: Shape, mode: str, in_axis: Axes, out_axis: Axes, batch_axis: Axes) -> float:
    fan_in, fan_out = fans(shape, in_axis, out_axis, batch_axis)
    if mode == "fan_avg":
        return 0.5 * (fan_in + fan_out)
    if mode == "fan_geo_avg":
        return math.sqrt(fan_in * fan_out)
    return fan_in if mode == "fan_in" else fan_out


def by_scale(shape: Shape, options: Options) -> float:
    return float(options["scale"] / _fan(shape, options["mode"], *axes(options)))


def by_gain(shape: Shape, options: Options) -> float:
    return float(options["gain"] ** 2 / _fan(shape, "fan_avg", *axes(options)))


def by_nonlinearity(shape: Shape, options: Options) -> float:
    gain = calculate_gain(options["nonlinearity"], options["a"])
    return gain**2 / _fan(shape, options["mode"], *axes(options))


def by_fan_in(shape: Shape, options: Options) -> float:
    return 1.0 / _fan(shape, "fan_in", *axes(options))


def _entry(
    name: str,
    variance: Variance,
    options: Options,
    distributions: tuple[str, ...],
    modes: tuple[str, ...] = (),
    trials: tuple[Options, ...] = (),
    rejects: tuple[Reject, ...] = (),
) -> Initializer:
    """A record whose weights have that variance; without a choice, the distribution is the one."""
    choice = {"distribution": distributions[0]} if len(distributions) > 1 else {}

    def from_noise(noise: Any, shape: Shape, **options: Any) -> Any:
        distribution = options.get("distribution", distributions[0])
        return scaled(noise, shape, variance(shape, options), distribution)

    def moments(shape: Shape, **options: Any) -> tuple[float, float]:
        return 0.0, math.sqrt(variance(shape, options))

    def check(shape: Shape, options: Options) -> None:
        check_layout(name, shape, options)
        check_fans(name, shape, *axes(options))
        for option in ("scale", "gain"):
            if option in options:
                non_negative(name, options, option)
        if "nonlinearity" in options:
            finite(name, options, "a")
            one_of(name, "nonlinearity", options["nonlinearity"], NONLINEARITIES)
        if modes:
            one_of(name, "mode", options["mode"], modes)
        if choice:
            one_of(name, "distribution", options["distribution"], distributions)

    moved = {"in_axis": -2, "out_axis": -1, "batch_axis": 0}
    others: tuple[Options, ...] = tuple({"distribution": d} for d in distributions[1:])
    return Initializer(
        name=name,
        path="initializers/variance_scaling",
        doc=__doc__,
        options={**options, **choice, **AXES, "layout": None},
        from_noise=from_noise,
        moments=moments,
        check=check,
        trials=({}, *others, moved, {"layout": "HWIO"}, {"layout": "IODH"}, *trials),
        rejects=(
            Reject(f"{name}: in_axis is 1, expected axes of the shape (3,)", {"shape": (3,)}),
            Reject(f"{name}: shape is (0, 3), expected no axis of size 0", {"shape": (0, 3)}),
            *(Reject(f"{name}: {m}", {"shape": (2, 3)}, options) for m, options in LAYOUT_REJECTS),
            *(Reject("mode is 'fan'", {"shape": (2, 3)}, {"mode": "fan"}) for _ in modes[:1]),
            *(
                Reject("distribution is 'cauchy'", {"shape": (2, 3)}, {"distribution": "cauchy"})
                for _ in choice
            ),
            *rejects,
        ),
    )


_KAIMING: Options = {"a": 0.0, "mode": "fan_in", "nonlinearity": "leaky_relu"}
_KAIMING_TRIALS: tuple[Options, ...] = (
    {"a": math.sqrt(5.0)},
    {"mode": "fan_out", "nonlinearity": "tanh"},
    {"nonlinearity": "selu"},
    {"nonlinearity": "relu"},
    {"nonlinearity": "conv2d"},
)
_KAIMING_REJECTS = (
    Reject("nonlinearity is 'gelu', expected", {"shape": (2, 3)}, {"nonlinearity": "gelu"}),
    Reject("a is None, expected a finite number", {"shape": (2, 3)}, {"a": None}),
)
_GAIN_REJECTS = (
    Reject("gain is -1, expected a number at least 0", {"shape": (2, 3)}, {"gain": -1}),
)
_NORMALS = ("normal", "truncated_normal")

VARIANCE_SCALING = _entry(
    "variance_scaling",
    by_scale,
    {"scale": 1.0, "mode": "fan_in"},
    ("truncated_normal", "normal", "uniform"),
    MODES,
    (*({"mode": m} for m in MODES[1:]), {"scale": 2.7, "distribution": "uniform"}),
    (
        Reject("scale is -1, expected a number at least 0", {"shape": (2, 3)}, {"scale": -1}),
        Reject("in_axis is -2, expected axes of", {"shape": (3,)}, {"in_axis": -2, "out_axis": 0}),
    ),
)
XAVIER_UNIFORM = _entry(
    "xavier_uniform", by_gain, {"gain": 1.0}, ("uniform",), (), ({"gain": 1.7},), _GAIN_REJECTS
)
XAVIER_NORMAL = _entry(
    "xavier_normal", by_gain, {"gain": 1.0}, _NORMALS, (), ({"gain": 1.7},), _GAIN_REJECTS
)
KAIMING_UNIFORM = _entry(
    "kaiming_uniform",
    by_nonlinearity,
    _KAIMING,
    ("uniform",),
    MODES[:2],
    _KAIMING_TRIALS,
    _KAIMING_REJECTS,
)
KAIMING_NORMAL = _entry(
    "kaiming_normal",
    by_nonlinearity,
    _KAIMING,
    _NORMALS,
    MODES[:2],
    _KAIMING_TRIALS,
    _KAIMING_REJECTS,
)
LECUN_UNIFORM = _entry("lecun_uniform", by_fan_in, {}, ("uniform",))
LECUN_NORMAL = _entry("lecun_normal", by_fan_in, {}, _NORMALS[::-1])
