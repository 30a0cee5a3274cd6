"""Identity layers that change the gradient passing through them: reversed, scaled, clipped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, number, require

PATH = "surrogate/gradient"


def identity(x: Any, **options: Any) -> Any:
    return x, ()


def _positive(name: str, option: str, value: Any) -> None:
    number(name, option, value)
    require(value > 0, f"{name}: {option} is {value}, expected above 0")


def _factor_check(name: str) -> Any:
    def check(dims: Dims, o: Options) -> None:
        number(name, "factor", o["factor"])
        require(
            math.isfinite(o["factor"]), f"{name}: factor is {o['factor']}, expected a finite number"
        )

    return check


_SHAPE: dict[str, tuple[int, ...] | None] = {"x": (2, 3)}
_REJECTS = (
    Reject("x is None, expected (*N)", {"x": None}),
    Reject("unknown option 'lambda_'", _SHAPE, {"lambda_": 1.0}),
)


def reversal_backward(dy: Any, x: Any, factor: float) -> Any:
    return (dy * -factor,)


def scale_backward(dy: Any, x: Any, factor: float) -> Any:
    return (dy * factor,)


def clip_value_backward(dy: Any, x: Any, clip_value: float) -> Any:
    high = np.where(dy > clip_value, clip_value, dy)
    return (np.where(high < -clip_value, -clip_value, high),)


def clip_norm_backward(dy: Any, x: Any, max_norm: float, dim: Any) -> Any:
    axes = _axes(dim, dy.ndim)
    # the largest is divided out, so that squares do not overflow
    largest = np.abs(dy).max(axes, keepdims=True, initial=0.0)
    unit = dy / np.where(largest == 0, 1.0, largest)
    norm = largest * np.sqrt((unit * unit).sum(axes, keepdims=True))
    return (dy * np.where(norm > max_norm, max_norm / norm, np.where(norm == norm, 1.0, norm)),)


def _axes(dim: Any, n: int) -> tuple[int, ...]:
    return tuple(range(n)) if dim is None else dim if isinstance(dim, tuple) else (dim,)


def _clip_norm_check(dims: Dims, o: Options) -> None:
    name, n = "gradient_clip_norm", len(dims["N"])
    _positive(name, "max_norm", o["max_norm"])
    given = _axes(o["dim"], n)
    whole = all(hasattr(d, "__index__") and not isinstance(d, bool) for d in given)
    require(
        whole and all(-n <= d < n for d in given),
        f"{name}: dim is {o['dim']!r}, expected None, or integers in -{n} <= dim < {n}",
    )
    require(
        len({d % n for d in given}) == len(given) and (n == 0 or len(given) > 0),
        f"{name}: dim is {o['dim']!r}, expected at least one dim, and each once",
    )


def reversal_cases(draw: Any) -> Iterator[Case]:
    yield Case("2d", {"x": draw(3, 5)})
    yield Case("factor", {"x": draw(2, 3, 7)}, {"factor": 0.3})
    yield Case("scalar", {"x": draw()})
    yield Case("empty", {"x": draw(0, 3)})


def scale_cases(draw: Any) -> Iterator[Case]:
    yield Case("2d", {"x": draw(3, 5)}, {"factor": 0.3})
    yield Case("one", {"x": draw(2, 3, 7)})
    yield Case("nothing", {"x": draw(5)}, {"factor": 0.0})
    yield Case("scalar", {"x": draw()}, {"factor": -2.0})
    yield Case("empty", {"x": draw(0, 3)}, {"factor": 2.0})


def clip_value_cases(draw: Any) -> Iterator[Case]:
    yield Case("2d", {"x": draw(3, 5)}, {"clip_value": 0.4})
    yield Case("one", {"x": draw(2, 3, 7)})
    yield Case("scalar", {"x": draw()}, {"clip_value": 0.01})
    yield Case("empty", {"x": draw(0, 3)})


def clip_norm_cases(draw: Any) -> Iterator[Case]:
    yield Case("2d", {"x": draw(3, 5)})
    yield Case("each row", {"x": draw(4, 3, 2)}, {"dim": (1, 2), "max_norm": 2.5})
    yield Case("last", {"x": draw(4, 3)}, {"dim": -1, "max_norm": 1.5})
    yield Case("within", {"x": draw(2, 3)}, {"max_norm": 1e3})
    yield Case("scalar", {"x": draw()}, {"max_norm": 0.01})
    yield Case("empty", {"x": draw(0, 3)})


def _entry(name: str, doc: str, backward: Any, cases: Any, **more: Any) -> Op:
    return Op(
        name=name,
        path=PATH,
        doc=doc,
        args=(Arg("x", "*N"),),
        out="*N",
        forward=identity,
        backward=backward,
        cases=cases,
        bench=rows.ELEMENTS,
        **more,
    )


gradient_reversal = _entry(
    "gradient_reversal",
    """Identity whose gradient is reversed.

    y = x;    dx = -factor dy

Keeps nothing.
Source: Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", JMLR 17, section 4.2.
""",
    backward=reversal_backward,
    cases=reversal_cases,
    options={"factor": 1.0},
    check=_factor_check("gradient_reversal"),
    rejects=(
        *_REJECTS,
        Reject("factor is '1', expected a number", _SHAPE, {"factor": "1"}),
        Reject("factor is inf, expected a finite number", _SHAPE, {"factor": math.inf}),
    ),
    elementwise=True,
    surrogate="what lies below is trained against the loss above: dx is -factor dy",
)

gradient_scale = _entry(
    "gradient_scale",
    """Identity whose gradient is scaled.

    y = x;    dx = factor dy

Keeps nothing; factor 0 stops the gradient, where dy is finite.
Source: elementary; as a layer: Ganin et al. 2016, JMLR 17, section 4.2, with the sign kept.
""",
    backward=scale_backward,
    cases=scale_cases,
    options={"factor": 1.0},
    check=_factor_check("gradient_scale"),
    rejects=(
        *_REJECTS,
        Reject("factor is None, expected a number", _SHAPE, {"factor": None}),
        Reject("factor is nan, expected a finite number", _SHAPE, {"factor": math.nan}),
    ),
    elementwise=True,
    surrogate="what lies below learns faster or slower than the loss says: dx is factor dy",
)

gradient_clip_value = _entry(
    "gradient_clip_value",
    """Identity whose gradient is clipped, element by element.

    y = x;    dx = min(max(dy, -clip_value), clip_value)

Keeps nothing. NaN stays NaN. Not linear in dy: gradients are clipped where they arrive, before they
are added up.
Source: Mikolov 2012, "Statistical Language Models Based on Neural Networks", thesis, section 3.2.2.
""",
    backward=clip_value_backward,
    cases=clip_value_cases,
    options={"clip_value": 1.0},
    check=lambda dims, o: _positive("gradient_clip_value", "clip_value", o["clip_value"]),
    rejects=(
        *_REJECTS,
        Reject("clip_value is 0.0, expected above 0", _SHAPE, {"clip_value": 0.0}),
        Reject("clip_value is None, expected a number", _SHAPE, {"clip_value": None}),
    ),
    elementwise=True,
    surrogate="no element of the gradient may be larger than clip_value",
    linear=False,
)

gradient_clip_norm = _entry(
    "gradient_clip_norm",
    """Identity whose gradient is scaled down to a largest Euclidean norm.

    y = x;    dx = dy min(1, max_norm / norm(dy))

The norm is that of the whole tensor, or with dim (one or several axes) of each slice along them:
dim (1, 2) of a batch (N A B) clips each sample for itself. A slice with a NaN or an infinity is NaN
everywhere. Keeps nothing. Not linear in dy.
Source: Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks",
ICML, algorithm 1.
""",
    backward=clip_norm_backward,
    cases=clip_norm_cases,
    options={"max_norm": 1.0, "dim": None},
    check=_clip_norm_check,
    rejects=(
        *_REJECTS,
        Reject("max_norm is -1.0, expected above 0", _SHAPE, {"max_norm": -1.0}),
        Reject("max_norm is '1', expected a number", _SHAPE, {"max_norm": "1"}),
        Reject("dim is 2, expected None, or integers in -2 <= dim < 2", _SHAPE, {"dim": 2}),
        Reject("dim is 0.5, expected None, or integers", _SHAPE, {"dim": 0.5}),
        Reject(
            "dim is (0, -2), expected at least one dim, and each once", _SHAPE, {"dim": (0, -2)}
        ),
        Reject("dim is (), expected at least one dim", _SHAPE, {"dim": ()}),
    ),
    surrogate="the norm of the gradient may not exceed max_norm",
    linear=False,
)

ALL: tuple[Op, ...] = (
    gradient_reversal,
    gradient_scale,
    gradient_clip_value,
    gradient_clip_norm,
)
