r"""Shampoo: for each axis of an array a preconditioner, the sum of products of gradients.

    for each axis i of g, with G_i the matrix whose rows run along the axis:
        H_i <- beta2 * H_i + (1 - beta2) * G_i G_i^T   starts at 0; H_i + G_i G_i^T for beta2 = 1
    g   <- m <- momentum * m + (1 - momentum) * g      with momentum only
    d   = g times (H_i + eps I)^(-1 / (2 k)) along every axis i, k the number of axes
    p   <- p - lr * weight_decay * p
    p   <- p - lr * d

For a matrix that is (L + eps I)^(-1/4) g (R + eps I)^(-1/4). A scalar counts as a vector of one.
The roots are by eigenvectors; eigenvalues that rounding made negative count as 0.

* exponent: instead of 1 / (2 k).
* update_freq: the roots are computed in steps 1, 1 + update_freq, 1 + 2 update_freq, ...
* max_dim: an axis longer than it has the diagonal of H_i only.
* decoupled_weight_decay = False: g <- g + weight_decay * p first, and no decay of p.

Source: Gupta, Koren, Singer 2018, "Shampoo: preconditioned stochastic tensor optimization",
arXiv:1802.09568, algorithms 1 and 2 (there eps I is in the start of H_i, which is the same sum);
momentum and the diagonal for long axes: its section 5; beta2 and update_freq: Anil et al. 2020,
"Scalable second order optimization for deep learning", arXiv:2002.09018.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject, require

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, *, momentum: float, update_freq: int, max_dim: int, **options: Any) -> State:
    state = {"m": np.zeros_like(p)} if momentum != 0 else {}
    for i, n in enumerate(p.shape or (1,)):
        zero = np.zeros((n, n) if n <= max_dim else n, p.dtype)
        state[f"h{i}"] = zero
        if update_freq > 1:
            state[f"root{i}"] = zero
    return state


def root(h: Array, eps: float, power: float) -> Array:
    if h.ndim == 1:
        return (h + eps) ** -power
    values, vectors = np.linalg.eigh(h)
    return (vectors * (np.maximum(values, 0) + eps) ** -power) @ vectors.T


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    eps: float,
    update_freq: int,
    beta2: float,
    exponent: float | None,
    max_dim: int,
    decoupled_weight_decay: bool,
) -> tuple[Array, State]:
    out = {}
    if not decoupled_weight_decay:
        g = g + weight_decay * p
    d = g
    if momentum != 0:
        out["m"] = d = momentum * state["m"] + (1 - momentum) * g
    shape = p.shape or (1,)
    g, d = g.reshape(shape), d.reshape(shape)
    power = 1 / (2 * len(shape)) if exponent is None else exponent
    for i in range(len(shape)):
        rows = np.moveaxis(g, i, 0).reshape(shape[i], g.size // max(shape[i], 1))
        held = state[f"h{i}"]
        product = rows @ rows.T if held.ndim == 2 else np.sum(rows * rows, axis=1)
        h = held + product if beta2 == 1 else beta2 * held + (1 - beta2) * product
        out[f"h{i}"] = h
        if update_freq == 1:
            inverse = root(h, eps, power)
        else:
            inverse = root(h, eps, power) if t % update_freq == 1 else state[f"root{i}"]
            out[f"root{i}"] = inverse
        turned = np.moveaxis(d, i, -1)
        turned = turned @ inverse if inverse.ndim == 2 else turned * inverse
        d = np.moveaxis(turned, -1, i)
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    return p - lr * d.reshape(p.shape), out


def check(options: Options) -> None:
    names = ("lr", "momentum", "weight_decay", "eps", "beta2", "max_dim")
    non_negative("shampoo", options, *names)
    momentum, eps, freq, beta2 = (options[k] for k in ("momentum", "eps", "update_freq", "beta2"))
    require(momentum < 1, f"shampoo: momentum is {momentum!r}, expected a number below 1")
    require(eps > 0, f"shampoo: eps is {eps!r}, expected a number above 0 (H_i starts at 0)")
    require(beta2 <= 1, f"shampoo: beta2 is {beta2!r}, expected a number at most 1")
    require(
        isinstance(freq, int) and freq >= 1,
        f"shampoo: update_freq is {freq!r}, expected a whole number at least 1",
    )
    exponent = options["exponent"]
    require(
        exponent is None or exponent > 0,
        f"shampoo: exponent is {exponent!r}, expected None or a number above 0",
    )


SPEC = Optimizer(
    name="shampoo",
    path="optimizers/shampoo",
    doc=__doc__,
    options={
        "lr": 0.1,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "eps": 1e-4,
        "update_freq": 1,
        "beta2": 1.0,
        "exponent": None,
        "max_dim": 1200,
        "decoupled_weight_decay": True,
    },
    state=("m", "h0", "h1", "h2", "root0", "root1", "root2"),
    init=init,
    step=step,
    check=check,
    trials=(
        {"lr": 0.5, "eps": 3e3},
        {"lr": 0.3, "momentum": 0.7, "weight_decay": 0.2, "eps": 5e3, "beta2": 0.8},
        {"lr": 0.2, "eps": 4e3, "update_freq": 3, "max_dim": 5, "exponent": 0.4},
        {"lr": 0.2, "eps": 6e3, "weight_decay": 0.3, "decoupled_weight_decay": False},
    ),
    rejects=(
        Reject("shampoo: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("momentum is 1.0, expected a number below 1", {}, {"momentum": 1.0}),
        Reject("shampoo: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("shampoo: eps is 0, expected a number above 0", {}, {"eps": 0}),
        Reject("beta2 is 1.5, expected a number at most 1", {}, {"beta2": 1.5}),
        Reject("update_freq is 0, expected a whole number at least 1", {}, {"update_freq": 0}),
        Reject("exponent is -1, expected None or a number above 0", {}, {"exponent": -1}),
        Reject("max_dim is -1, expected a number at least 0", {}, {"max_dim": -1}),
    ),
)
