r"""Rprop: a step size for every element, which grows while the gradient keeps its sign.

    turn  = sign(g) * sign(prev)
    size <- min(max(size * eta, min_size), max_size)   eta = eta_plus where turn is 1, eta_minus
                                                       where it is -1, else 1; starts at lr
    g    <- 0 where turn is -1                         no step, and none of the next turns
    p    <- p - size * sign(g)
    prev <- g                                          starts at 0

etas is (eta_minus, eta_plus), step_sizes (min_size, max_size). lr is only what the sizes start
with, so a schedule of lr has no effect. The two signs are taken apart because the product of two
small gradients may underflow to 0, where torch and optax stop adapting. With clamp_unchanged False
a size is held to its limits only where it is multiplied, which differs for an lr outside them.

torch.optim.Rprop is this rule; optax.rprop has clamp_unchanged False and applies each step one call
late: its update is the step planned from the gradient before, or 0 where the sign has turned since.
bpx_jax.optim.rprop keeps optax's arguments and state and moves at once.

Source: Igel, Hüsken 2003, "Empirical evaluation of the improved Rprop learning algorithms",
Neurocomputing 50, algorithm iRprop-; sizes and etas: Riedmiller, Braun 1993, "A direct adaptive
method for faster backpropagation learning: the RPROP algorithm", ICNN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative, two_numbers
from bpx.spec import Optimizer, Options, Reject

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, *, lr: float = 1e-2, **options: Any) -> State:
    return {"prev": np.zeros_like(p), "step_size": np.full_like(p, lr)}


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    etas: tuple[float, float],
    step_sizes: tuple[float, float],
    clamp_unchanged: bool,
) -> tuple[Array, State]:
    (minus, plus), (low, high) = etas, step_sizes
    turn = np.sign(g) * np.sign(state["prev"])
    old = state["step_size"]
    eta = np.where(turn < 0, minus, np.where(turn > 0, plus, 1.0))
    size = np.minimum(np.maximum(old * eta, low), high)
    size = size if clamp_unchanged else np.where(turn != 0, size, old)
    g = np.where(turn < 0, 0.0, g)
    p = p - size * np.sign(g)
    return p, {"prev": g, "step_size": size}


def check(options: Options) -> None:
    non_negative("rprop", options, "lr")
    two_numbers("rprop", options, "etas", lambda a, b: 0 < a < 1 < b, "0 < first < 1 < second")
    two_numbers("rprop", options, "step_sizes", lambda a, b: 0 <= a <= b, "0 <= first <= second")


SPEC = Optimizer(
    name="rprop",
    path="optimizers/rprop",
    doc=__doc__,
    options={
        "lr": 1e-2,
        "etas": (0.5, 1.2),
        "step_sizes": (1e-6, 50.0),
        "clamp_unchanged": True,
    },
    state=("prev", "step_size"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.1, "etas": (0.3, 1.6), "step_sizes": (0.05, 0.3)},
        {"lr": 0.9, "etas": (0.7, 1.1), "step_sizes": (1e-3, 0.5)},
        {"lr": 0.1, "etas": (0.4, 1.3), "clamp_unchanged": False},
        {"lr": 0.9, "step_sizes": (1e-3, 0.5), "clamp_unchanged": False},
    ),
    rejects=(
        Reject("rprop: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("etas is (0.5, 1.0), expected two numbers, 0 < first < 1", {}, {"etas": (0.5, 1.0)}),
        Reject("etas is (0.0, 1.2), expected two numbers, 0 < first < 1", {}, {"etas": (0.0, 1.2)}),
        Reject(
            "rprop: step_sizes is (2.0, 1.0), expected two numbers, 0 <= first <= second",
            {},
            {"step_sizes": (2.0, 1.0)},
        ),
        Reject("step_sizes is (-1.0, 1.0), expected", {}, {"step_sizes": (-1.0, 1.0)}),
    ),
)
