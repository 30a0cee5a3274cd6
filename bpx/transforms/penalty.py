"""Penalties on the size of the weights, in the gradient or beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.limits import non_negative
from bpx.spec import Options, Reject
from bpx.training import Transform

PATH = "transforms/penalty"
Array = NDArray[Any]
Arrays = list[Array]
State = dict[str, Any]


def _no_state(ps: Arrays, **options: Any) -> State:
    return {}


def _l1(gs: Arrays, ps: Arrays, state: State, *, scale: float) -> Any:
    return [g + scale * np.sign(p) for g, p in zip(gs, ps, strict=True)], state


def _l1_check(o: Options) -> None:
    non_negative("l1_penalty", o, "scale")


L1 = Transform(
    name="l1_penalty",
    path=PATH,
    doc="""An L1 penalty: the gradient of scale * sum |p| is added.

    g <- g + scale * sign(p)                             sign(0) = 0

Source: Tibshirani 1996, "Regression shrinkage and selection via the lasso", J. R. Stat. Soc. B
58(1), with the subgradient 0 at 0.
""",
    on="gradients",
    options={"scale": 1e-4},
    state=(),
    init=_no_state,
    step=_l1,
    check=_l1_check,
    trials=({}, {"scale": 0.3}),
    rejects=(Reject("l1_penalty: scale is -1, expected a number at least 0", {}, {"scale": -1}),),
)


def _l2(gs: Arrays, ps: Arrays, state: State, *, scale: float) -> Any:
    return [g + scale * p for g, p in zip(gs, ps, strict=True)], state


def _l2_check(o: Options) -> None:
    non_negative("l2_penalty", o, "scale")


L2 = Transform(
    name="l2_penalty",
    path=PATH,
    doc="""An L2 penalty: the gradient of scale / 2 * sum p^2 is added.

    g <- g + scale * p

It is coupled: the optimizer scales and averages it as the rest of the gradient. `decoupled_decay`
is not; the two are the same for SGD without momentum alone.

Source: Hoerl, Kennard 1970, "Ridge regression", Technometrics 12(1).
""",
    on="gradients",
    options={"scale": 1e-4},
    state=(),
    init=_no_state,
    step=_l2,
    check=_l2_check,
    trials=({}, {"scale": 0.3}),
    rejects=(
        Reject("l2_penalty: scale is 'a', expected a finite number", {}, {"scale": "a"}),
        Reject("l2_penalty: scale is -1, expected a number at least 0", {}, {"scale": -1}),
    ),
)


def _decay(ps: Arrays, state: State, *, lr: float, weight_decay: float) -> Any:
    return [p - lr * weight_decay * p for p in ps], state


def _decay_check(o: Options) -> None:
    non_negative("decoupled_decay", o, "lr", "weight_decay")


DECAY = Transform(
    name="decoupled_decay",
    path=PATH,
    doc="""Decoupled weight decay, with any optimizer.

    p <- p - lr * weight_decay * p                       beside the optimizer's step, on the old p

The optimizer's averages do not see it. lr is the learning rate of the step, so a schedule scales
the decay too.

Source: Loshchilov, Hutter 2019, "Decoupled weight decay regularization", arXiv:1711.05101,
algorithms 1 and 2, with lr for their schedule multiplier, as torch and optax have it.
""",
    on="weights",
    options={"lr": 1e-3, "weight_decay": 1e-2},
    state=(),
    init=_no_state,
    step=_decay,
    check=_decay_check,
    trials=({}, {"lr": 0.3, "weight_decay": 0.4}),
    rejects=(
        Reject("decoupled_decay: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("weight_decay is -1, expected a number at least 0", {}, {"weight_decay": -1}),
    ),
)
