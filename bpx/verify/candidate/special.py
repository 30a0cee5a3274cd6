"""Values at which rules go wrong: each changes an ordinary array, or gives None where it has no
place."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.verify.candidate.arguments import Float, Index

LEAST = float(np.finfo(np.float64).tiny)  # a smaller number may be flushed to zero


def _special(arg: Float, a: Any) -> Any:
    """The declared values and their neighbours, one ulp to either side, over and over."""
    if not arg.at:
        return None
    near = [f(v) for v in arg.at for f in (_same, _below, _above)]
    return np.resize(np.asarray(near, dtype=float), a.shape)


def _same(v: float) -> float:
    return float(v)


def _below(v: float) -> float:
    return float(np.nextafter(v, -np.inf)) if v else -LEAST


def _above(v: float) -> float:
    return float(np.nextafter(v, np.inf)) if v else LEAST


def _ends(arg: Float, a: Any) -> Any:
    ends = [e for e in (arg.low, arg.high) if e is not None]
    return (
        np.where(np.arange(a.size).reshape(a.shape) % 2, a, np.resize(ends, a.shape))
        if ends
        else None
    )


def _row(arg: Float, a: Any) -> Any:
    return np.broadcast_to(a[..., :1], a.shape).copy() if a.ndim else None


def _minus_infinity(arg: Float, a: Any) -> Any:
    return (
        np.where(np.arange(a.size).reshape(a.shape) % 3 == 1, -np.inf, a) if arg.infinite else None
    )


def _ignored(arg: Index, a: Any, limit: int) -> Any:
    return None if arg.ignore is None else np.full_like(a, arg.ignore)


def _some_ignored(arg: Index, a: Any, limit: int) -> Any:
    """The first one and every third."""
    if arg.ignore is None:
        return None
    return np.where(np.arange(a.size).reshape(a.shape) % 3 == 0, arg.ignore, a)


FLOATS = {
    "zeros": lambda arg, a: np.zeros_like(a),
    "one zero": lambda arg, a: np.where(np.arange(a.size).reshape(a.shape) == 1, 0.0, a),
    "negative zeros": lambda arg, a: -np.zeros_like(a),
    "ties": lambda arg, a: np.round(a),
    "declared points": _special,
    "ends of the domain": _ends,
    "constant rows": _row,
    "large": lambda arg, a: a * 1e4,
    "-inf": _minus_infinity,
}
INDICES = {
    "one index": lambda arg, a, limit: np.full_like(a, max(limit - 1, 0)),
    "first index": lambda arg, a, limit: np.zeros_like(a),
    "some ignored": _some_ignored,
    "all ignored": _ignored,
}
