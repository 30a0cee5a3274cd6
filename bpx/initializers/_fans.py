"""What fan-scaled initializers share: the fans of a shape, and the gain of a nonlinearity."""

from __future__ import annotations

import math
from typing import Any

from bpx.initializers._layout import axes, check_layout
from bpx.spec import require

Shape = tuple[int, ...]
Axes = int | tuple[int, ...]

LINEAR = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
)
NONLINEARITIES = (*LINEAR, "tanh", "relu", "leaky_relu", "selu")


def fans(
    shape: Shape,
    in_axis: Axes = 1,
    out_axis: Axes = 0,
    batch_axis: Axes = (),
    layout: str | None = None,
) -> tuple[float, float]:
    """(fan_in, fan_out) of a weight. Axes not named are the receptive field, which is in both.

    The defaults are torch's layout (out, in, *field); JAX's are in_axis=-2, out_axis=-1. An axis
    may be named twice, as in JAX, where out_axis=0 on a matrix leaves in_axis on the same axis.
    `layout` says the axes as a string instead; see axes_of.

    Raises SpecError for axes or a layout that the shape does not have, and for an axis of size 0.

    >>> fans((36, 72, 3, 3))
    (648.0, 324.0)
    >>> fans((3, 3, 72, 36), layout="HWIO")
    (648.0, 324.0)
    """
    options = {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis, "layout": layout}
    check_layout("fans", shape, options)
    in_axis, out_axis, batch_axis = axes(options)
    check_fans("fans", shape, in_axis, out_axis, batch_axis)
    size = math.prod(shape)
    n_in, n_out, n_batch = (
        math.prod(shape[i] for i in _tuple(axes)) for axes in (in_axis, out_axis, batch_axis)
    )
    return size / (n_out * n_batch), size / (n_in * n_batch)


def check_fans(entry: str, shape: Shape, in_axis: Axes, out_axis: Axes, batch_axis: Axes) -> None:
    """Raise unless the axes exist and no axis is empty."""
    named = {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
    for option, said in named.items():
        known = all(isinstance(i, int) and -len(shape) <= i < len(shape) for i in _tuple(said))
        require(known, f"{entry}: {option} is {said!r}, expected axes of the shape {shape}")
    require(0 not in shape, f"{entry}: shape is {shape}, expected no axis of size 0 (its fan is 0)")


def _tuple(axes: Any) -> tuple[int, ...]:
    return tuple(axes) if isinstance(axes, tuple | list) else (axes,)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on a weight's standard deviation that a nonlinearity asks for, as torch has it.

    `param` is the negative slope of leaky_relu (0.01 when None), and is not read for others.

    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    require(
        nonlinearity in NONLINEARITIES,
        f"calculate_gain: nonlinearity is {nonlinearity!r}, expected one of {list(NONLINEARITIES)}",
    )
    if nonlinearity == "tanh":
        return 5.0 / 3.0
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4.0
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        known = isinstance(slope, int | float) and not isinstance(slope, bool)
        require(known, f"calculate_gain: param is {param!r}, expected a number")
        return math.sqrt(2.0 / (1.0 + slope**2))
    return 1.0
