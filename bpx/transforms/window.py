"""When the optimizer takes a step: after a window of gradients, and not on a non-finite one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.limits import count
from bpx.spec import Options, Reject
from bpx.training import Transform

PATH = "transforms/window"
Array = NDArray[Any]
Arrays = list[Array]
State = dict[str, Any]


def _accumulation_init(ps: Arrays, **options: Any) -> State:
    return {"n": 0, "sum": [np.zeros_like(p) for p in ps]}


def _accumulation(gs: Arrays, ps: Arrays, state: State, *, every: int, mean: bool) -> Any:
    n = state["n"] + 1
    total = [s + g for s, g in zip(state["sum"], gs, strict=True)]
    if n < every:
        return None, {"n": n, "sum": total}
    return finish({"n": n, "sum": total}, mean=mean), _accumulation_init(ps)


def finish(state: State, *, mean: bool) -> Arrays | None:
    """The gradients of a window that is not full; None of an empty one."""
    if state["n"] == 0:
        return None
    return [s / state["n"] if mean else s for s in state["sum"]]


def _accumulation_check(o: Options) -> None:
    count("gradient_accumulation", o, "every")


ACCUMULATION = Transform(
    name="gradient_accumulation",
    path=PATH,
    doc="""Gradient accumulation: one step of the optimizer for `every` gradients.

    sum <- sum + g,   n <- n + 1
    n < every:   no step
    n = every:   g = sum / n (mean) or sum;   sum <- 0,   n <- 0

`finish` takes the step of a last window that is not full: the mean is over the gradients it has,
not over `every`. (optax.MultiSteps leaves such a window waiting.) The mean of the means of
micro-batches is the mean over all examples only where the micro-batches are of one size and the
loss is a mean; else use mean=False with a loss that is a sum, or weigh the losses.

A non-finite gradient makes the sum non-finite: wrap skip_nonfinite around this to leave out that
micro-batch, or inside it to drop the window.

Source: optax.MultiSteps (use_grad_mean) and the summing of torch's .grad, by definition.
""",
    on="gradients",
    options={"every": 1, "mean": True},
    state=("n", "sum"),
    init=_accumulation_init,
    step=_accumulation,
    check=_accumulation_check,
    trials=({}, {"every": 3}, {"every": 4, "mean": False}),
    rejects=(
        Reject("gradient_accumulation: every is 0, expected an integer", {}, {"every": 0}),
        Reject("gradient_accumulation: every is 2.0, expected an integer", {}, {"every": 2.0}),
    ),
)


def _skip_init(ps: Arrays, **options: Any) -> State:
    return {"row": 0, "total": 0}


def _skip(gs: Arrays, ps: Arrays, state: State, *, max_consecutive: int) -> Any:
    if all(np.all(np.isfinite(g)) for g in gs):
        return list(gs), {"row": 0, "total": state["total"]}
    row = state["row"] + 1
    state = {"row": row, "total": state["total"] + 1}
    return (list(gs) if row > max_consecutive else None), state


def _skip_check(o: Options) -> None:
    count("skip_nonfinite", o, "max_consecutive", least=0)


SKIP = Transform(
    name="skip_nonfinite",
    path=PATH,
    doc="""Leave out steps with a NaN or an infinity anywhere in the gradients.

    row   = how many gradients in a row were not finite, with this one
    step, where row = 0 or row > max_consecutive

After max_consecutive in a row the gradients are handed on as they are, so that a broken run is seen
and does not go on without ever taking a step. The optimizer's state does not change in a step that
is left out.

Source: Micikevicius et al. 2018, "Mixed precision training", arXiv:1710.03740, section 3.2;
optax.apply_if_finite for max_consecutive.
""",
    on="gradients",
    options={"max_consecutive": 5},
    state=("row", "total"),
    init=_skip_init,
    step=_skip,
    check=_skip_check,
    trials=({}, {"max_consecutive": 1}, {"max_consecutive": 0}),
    rejects=(
        Reject(
            "skip_nonfinite: max_consecutive is -1, expected an integer at least 0",
            {},
            {"max_consecutive": -1},
        ),
    ),
)
