r"""LAMB: Adam whose steps are scaled, array by array, to the array's norm.

    g     <- g / max(1, |all g| / max_grad_norm)       |all g|: the norm of all gradients together
    m     <- b1 * m + (1 - b1) * g
    v     <- b2 * v + (1 - b2) * g^2
    m_hat = m / (1 - b1^t)                             t = 1, 2, ...
    v_hat = v / (1 - b2^t)
    r     = m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay * p
    p     <- p - lr * |p| / |r| * r                    Euclidean norms of arrays

The ratio |p| / |r| is 1 where |p| or |r| is 0: a zero array would never move. The paper leaves the
function of |p| open; `phi`, two bounds, clamps |p| between them.

* max_grad_norm None leaves the gradients alone; the line is no part of the paper's algorithm.
* adam_w_mode = False: g <- g + weight_decay * p after the clipping, and no decay in r.
* grad_averaging = False: g instead of (1 - b1) * g in m.
* bias_correction = False: m_hat = m and v_hat = v.
* use_nvlamb = False: without weight decay the ratio is left out.

optax.lamb has weight decay 0 and none of these five. apex's FusedLAMB, from which the options have
their names, is max_grad_norm = 1 and use_nvlamb = False, without eps_root and phi.

Source: You et al. 2020, "Large batch optimization for deep learning: training BERT in 76 minutes",
arXiv:1904.00962, algorithm 2; its section 4 for the decay 0.01 and the betas.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import betas as check_betas
from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject, require

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, **options: Any) -> State:
    return {"m": np.zeros_like(p), "v": np.zeros_like(p)}


def prepare(gs: list[Any], options: list[Options]) -> list[Any]:
    squares = sum(float(np.sum(g * g)) for g in gs if g is not None)
    norm = np.sqrt(squares)
    out: list[Any] = []
    for g, o in zip(gs, options, strict=True):
        limit = o["max_grad_norm"]
        out.append(g if g is None or limit is None or norm <= limit else g / (norm / limit))
    return out


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    max_grad_norm: float | None,
    adam_w_mode: bool,
    grad_averaging: bool,
    bias_correction: bool,
    use_nvlamb: bool,
    eps_root: float,
    phi: tuple[float, float] | None,
) -> tuple[Array, State]:
    b1, b2 = betas
    if not adam_w_mode:
        g = g + weight_decay * p
    m = b1 * state["m"] + (1 - b1 if grad_averaging else 1) * g
    v = b2 * state["v"] + (1 - b2) * g * g
    m_hat = m / (1 - b1**t) if bias_correction else m
    v_hat = v / (1 - b2**t) if bias_correction else v
    r = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    if adam_w_mode:
        r = r + weight_decay * p
    size, below = np.linalg.norm(p), np.linalg.norm(r)
    if phi is not None:
        size = np.clip(size, *phi)
    adapt = min(size, below) > 0 and (use_nvlamb or weight_decay != 0)
    trust = size / below if adapt else 1.0
    return p - lr * trust * r, {"m": m, "v": v}


def check(options: Options) -> None:
    non_negative("lamb", options, "lr", "eps", "weight_decay", "eps_root")
    check_betas("lamb", options)
    if options["max_grad_norm"] is not None:
        non_negative("lamb", options, "max_grad_norm")
        require(
            options["max_grad_norm"] > 0,
            f"lamb: max_grad_norm is {options['max_grad_norm']!r}, expected None or above 0",
        )
    phi = options["phi"]
    require(
        phi is None or (isinstance(phi, (tuple, list)) and len(phi) == 2 and 0 <= phi[0] <= phi[1]),
        f"lamb: phi is {phi!r}, expected None or two bounds, 0 <= low <= high",
    )


SPEC = Optimizer(
    name="lamb",
    path="optimizers/lamb",
    doc=__doc__,
    options={
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-6,
        "weight_decay": 1e-2,
        "max_grad_norm": None,
        "adam_w_mode": True,
        "grad_averaging": True,
        "bias_correction": True,
        "use_nvlamb": True,
        "eps_root": 0.0,
        "phi": None,
    },
    state=("m", "v"),
    init=init,
    prepare=prepare,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.6},
        {"lr": 0.2, "betas": (0.6, 0.7), "weight_decay": 0.0, "eps_root": 1e-4},
        {"lr": 0.1, "weight_decay": 0.3, "max_grad_norm": 2.0, "adam_w_mode": False},
        {"lr": 0.2, "grad_averaging": False, "bias_correction": False, "betas": (0.8, 0.6)},
        {"lr": 0.1, "weight_decay": 0.0, "use_nvlamb": False, "max_grad_norm": 1.0},
        {"lr": 0.1, "weight_decay": 0.2, "use_nvlamb": False, "phi": (0.5, 3.0)},
    ),
    rejects=(
        Reject("lamb: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("lamb: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("lamb: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("lamb: eps_root is -1, expected a number at least 0", {}, {"eps_root": -1}),
        Reject("betas is (1.0, 0.9), expected two numbers in [0, 1)", {}, {"betas": (1.0, 0.9)}),
        Reject("max_grad_norm is -1, expected a number at least 0", {}, {"max_grad_norm": -1}),
        Reject("max_grad_norm is 0.0, expected None or above 0", {}, {"max_grad_norm": 0.0}),
        Reject("phi is (2, 1), expected None or two bounds", {}, {"phi": (2, 1)}),
    ),
)
