"""Gradient clipping: by value, by norm, by the norm of all, and by the size of the weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.limits import above_zero, non_negative
from bpx.spec import Options, Reject, one_of, require
from bpx.training import Transform

PATH = "transforms/clip"
Array = NDArray[Any]
Arrays = list[Array]
State = dict[str, Any]
NON_FINITE = """A NaN in a norm makes all that it clips NaN. An infinite gradient has an infinite
norm: what is finite becomes 0, the infinity NaN. Neither is hidden; skip_nonfinite drops such a
step."""


def _no_state(ps: Arrays, **options: Any) -> State:
    return {}


def _norm(x: Array, order: float) -> float:
    """The norm of an array taken as a vector; 0 of no elements. Squares do not overflow."""
    size = np.abs(x)
    largest = float(np.max(size, initial=0.0))
    if order == math.inf or largest == 0 or not math.isfinite(largest):
        return largest
    return largest * float(np.sum((size / largest) ** order)) ** (1 / order)


def _by_value(gs: Arrays, ps: Arrays, state: State, *, max_value: float) -> Any:
    return [np.minimum(np.maximum(g, -max_value), max_value) for g in gs], state


def _by_value_check(o: Options) -> None:
    non_negative("clip_by_value", o, "max_value")


BY_VALUE = Transform(
    name="clip_by_value",
    path=PATH,
    doc="""Clip each element of the gradients.

    g <- min(max(g, -max_value), max_value)

NaN stays NaN; an infinity becomes max_value with its sign.

Source: Mikolov 2012, "Statistical language models based on neural networks", PhD thesis, section
3.2.2; torch.nn.utils.clip_grad_value_ and optax.clip.
""",
    on="gradients",
    options={"max_value": 1.0},
    state=(),
    init=_no_state,
    step=_by_value,
    check=_by_value_check,
    trials=({}, {"max_value": 0.3}),
    rejects=(
        Reject("clip_by_value: max_value is -1, expected a number at least", {}, {"max_value": -1}),
        Reject("max_value is nan, expected a finite", {}, {"max_value": float("nan")}),
    ),
)


def _by_norm(
    gs: Arrays, ps: Arrays, state: State, *, max_norm: float, norm_type: float, mean: bool
) -> Any:
    clipped = []
    for g in gs:
        norm = _norm(g, norm_type)
        if mean:
            norm = norm / max(g.size, 1) ** (1 / norm_type)
        # not <=, so that a NaN is not taken for small
        clipped.append(g if norm <= max_norm else g * (max_norm / norm))
    return clipped, state


def _by_norm_check(o: Options) -> None:
    above_zero("clip_by_norm", o, "max_norm")
    _order("clip_by_norm", o)


def _order(entry: str, o: Options) -> None:
    order = o["norm_type"]
    good = isinstance(order, (int, float)) and order > 0
    require(good, f"{entry}: norm_type is {order!r}, expected a number above 0, or inf")


BY_NORM = Transform(
    name="clip_by_norm",
    path=PATH,
    doc=f"""Clip each gradient by its own norm.

    g <- g * min(1, max_norm / ||g||)

* norm_type: the order of the norm, inf for the largest element.
* mean: the mean over the elements in place of the sum, under the root: optax.clip_by_block_rms.

{NON_FINITE}

Source: Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks",
arXiv:1211.5063, algorithm 1, for each array; optax.clip_by_block_rms for the mean.
""",
    on="gradients",
    options={"max_norm": 1.0, "norm_type": 2.0, "mean": False},
    state=(),
    init=_no_state,
    step=_by_norm,
    check=_by_norm_check,
    trials=(
        {},
        {"max_norm": 0.4, "mean": True},
        {"max_norm": 0.7, "norm_type": 3.0},
        {"max_norm": 0.2, "norm_type": math.inf, "mean": True},
    ),
    rejects=(
        Reject("clip_by_norm: max_norm is 0, expected a number above 0", {}, {"max_norm": 0}),
        Reject("norm_type is -1, expected a number above 0, or inf", {}, {"norm_type": -1}),
    ),
)


def _by_global_norm(
    gs: Arrays, ps: Arrays, state: State, *, max_norm: float, norm_type: float, profile: str
) -> Any:
    norms = np.array([_norm(g, norm_type) for g in gs])
    total = _norm(norms, norm_type)
    if profile == "torch":
        share = max_norm / (total + 1e-6)
        return [g * np.minimum(share, 1.0) for g in gs], state
    if total < max_norm:
        return list(gs), state
    return [g / np.float64(total) * max_norm for g in gs], state


def _by_global_norm_check(o: Options) -> None:
    non_negative("clip_by_global_norm", o, "max_norm")
    _order("clip_by_global_norm", o)
    one_of("clip_by_global_norm", "profile", o["profile"], ("torch", "optax"))


BY_GLOBAL_NORM = Transform(
    name="clip_by_global_norm",
    path=PATH,
    doc=f"""Clip all gradients together, by the norm of all their elements.

    total = norm of the norms of all gradients
    profile="torch"   g <- g * min(1, max_norm / (total + 1e-6))
    profile="optax"   g <- g                         total < max_norm
                      g <- g / total * max_norm      else

torch's gradients end a little below max_norm, and change a little where total is just below it.
norm_type is the order of the norm, inf for the largest element; optax has 2 alone. A total of 0
with max_norm 0 is NaN under "optax".

{NON_FINITE}

Source: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, algorithm 1; torch.nn.utils.clip_grad_norm_
and optax.clip_by_global_norm for the two profiles.
""",
    on="gradients",
    options={"max_norm": 1.0, "norm_type": 2.0, "profile": "torch"},
    state=(),
    init=_no_state,
    step=_by_global_norm,
    check=_by_global_norm_check,
    trials=(
        {},
        {"max_norm": 0.7, "profile": "optax"},
        {"max_norm": 100.0, "profile": "optax"},
        {"max_norm": 0.3, "norm_type": 1.5},
        {"max_norm": 0.2, "norm_type": math.inf},
    ),
    rejects=(
        Reject("clip_by_global_norm: max_norm is -1, expected", {}, {"max_norm": -1}),
        Reject("norm_type is 0, expected a number above 0, or inf", {}, {"norm_type": 0}),
        Reject("profile is 'tf', expected one of ['torch', 'optax']", {}, {"profile": "tf"}),
    ),
)


def _unit_norms(x: Array, layout: str) -> Array:
    """The norm of the weights of each output unit, shaped to broadcast against x."""
    if np.squeeze(x).ndim <= 1:
        axes = tuple(range(x.ndim))
    elif layout == "torch":
        axes = tuple(range(1, x.ndim))
    else:
        axes = (0,) if x.ndim in (2, 3) else tuple(range(x.ndim - 1))
    return np.sqrt(np.sum(x * x, axis=axes, keepdims=True))


def _adaptive(
    gs: Arrays, ps: Arrays, state: State, *, clipping: float, eps: float, layout: str
) -> Any:
    clipped = []
    for g, p in zip(gs, ps, strict=True):
        norm = _unit_norms(g, layout)
        largest = clipping * np.maximum(_unit_norms(p, layout), eps)
        shrunk = g * (largest / np.maximum(norm, 1e-6))
        clipped.append(np.where(norm < largest, g, shrunk))
    return clipped, state


def _adaptive_check(o: Options) -> None:
    above_zero("adaptive_grad_clip", o, "clipping", "eps")
    one_of("adaptive_grad_clip", "layout", o["layout"], ("torch", "optax"))


ADAPTIVE = Transform(
    name="adaptive_grad_clip",
    path=PATH,
    doc="""Adaptive gradient clipping (AGC): by the size of the weights, for each output unit.

    largest = clipping * max(||p_i||, eps)               p_i, g_i: the weights into unit i
    g_i <- g_i                                           ||g_i|| < largest
    g_i <- g_i * largest / max(||g_i||, 1e-6)            else

* layout="torch": the units are axis 0, (out, in, ...). "optax": the last axis, (..., in, out); of
  three axes the first alone is summed over, as in optax.
* Scalars, vectors and arrays with one long axis are one unit.

A NaN or an infinity in a unit makes that unit NaN and leaves the others.

Source: Brock, De, Smith, Simonyan 2021, "High-performance large-scale image recognition without
normalization", arXiv:2102.06171, equation 3; the 1e-6 is of the authors' code.
""",
    on="gradients",
    options={"clipping": 0.01, "eps": 1e-3, "layout": "torch"},
    state=(),
    init=_no_state,
    step=_adaptive,
    check=_adaptive_check,
    trials=({}, {"clipping": 0.7, "eps": 0.2}, {"clipping": 0.5, "eps": 0.9, "layout": "optax"}),
    rejects=(
        Reject("adaptive_grad_clip: clipping is 0, expected", {}, {"clipping": 0}),
        Reject("adaptive_grad_clip: eps is -1, expected a number above 0", {}, {"eps": -1}),
        Reject("layout is 'tf', expected one of ['torch', 'optax']", {}, {"layout": "tf"}),
    ),
)
