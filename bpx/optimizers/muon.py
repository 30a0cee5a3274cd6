r"""Muon: momentum of a matrix, made nearly orthogonal by a Newton-Schulz iteration.

    buf <- momentum * buf + (1 - momentum) * g
    x   = (1 - momentum) * g + momentum * buf if nesterov, else buf
    x   <- x / max(|x|, eps)                           Frobenius norm
    x   <- a * x + (b * A + c * A^2) x, A = x x^T      ns_steps times; (a, b, c) = ns_coefficients
    p   <- p - lr * weight_decay * p
    p   <- p - lr * sqrt(max(1, rows / columns)) * x

The iteration works on singular values alone: s <- a s + b s^3 + c s^5, which five times brings
everything in [0.01, 1] near 1, not to it: x is U S V^T with S between about 0.7 and 1.2. A tall x
is transposed on the way, which changes nothing but the cost. A zero x stays zero, with eps = 0 too.
p has two dims; other parameters are for another optimizer.

* adjust_lr_fn: "original" (or None) is the factor above, "match_rms_adamw" is
  rms * sqrt(max(rows, columns)).
* ns_coefficients may be several triples, one for each iteration; ns_steps is then their number.
* bias_correction: buf / (1 - momentum^t) in x, t = 1, 2, ...; with nesterov
  (1 - momentum) * g / (1 - momentum^t) + momentum * buf / (1 - momentum^(t+1)).
* eps_added: |x| + eps instead of the maximum.
* inputs_first: p's rows are the inputs of the layer, so rows and columns change places in the
  factor.
* adaptive: x <- <x before the division, x> x at the end, the inner product of all elements.
* preconditioning, instead of the Frobenius norm: "spectral" divides by the largest singular value;
  "schatten" by sqrt(|x x^T|); "aol" divides row i by the root of the sum of |x x^T| along its row
  i. The last two have no eps: what they divide by is at least sqrt(1e-8).

torch.optim.Muon has none of the last six, and iterates in bfloat16. optax.contrib.muon is
bias_correction, eps_added and inputs_first with eps 1e-8 and weight decay 0; its consistent_rms is
rms.

Source: Jordan 2024, "Muon: an optimizer for hidden layers in neural networks",
kellerjordan.github.io/posts/muon (there buf <- momentum * buf + g, which the division cancels);
match_rms_adamw and decay: Liu et al. 2025, "Muon is scalable for LLM training", arXiv:2502.16982,
section 2.2; adaptive: Bernstein, Newhouse 2024, arXiv:2409.20325; aol: Boissin et al. 2025,
"Turbo-Muon", arXiv:2512.04632; schatten: Grishina et al. 2025, arXiv:2506.10935.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject, SpecError, require

Array = NDArray[Any]
State = dict[str, Array]
FLOOR = 1e-8  # of the squares that aol and schatten divide by


def init(p: Array, **options: Any) -> State:
    if p.ndim != 2:
        raise SpecError(f"muon: a parameter has shape {p.shape}, expected two dims")
    return {"buf": np.zeros_like(p)}


def orthogonal(x: Array, coefficients: Any, steps: int, eps: float, added: bool, how: str) -> Array:
    if x.size == 0:
        return x
    if x.shape[0] > x.shape[1]:
        return orthogonal(x.T, coefficients, steps, eps, added, how).T
    gram = np.abs(x @ x.T)
    if how == "aol":
        below = np.sqrt(np.maximum(gram.sum(axis=1, keepdims=True), FLOOR))
    elif how == "schatten":
        below = np.sqrt(np.maximum(np.linalg.norm(gram), FLOOR))
    else:
        size = np.linalg.norm(x, 2 if how == "spectral" else None)
        below = size + eps if added else np.maximum(size, eps)
    x = x / np.where(below > 0, below, 1.0)
    rows = np.broadcast_to(coefficients, (steps, 3)) if np.ndim(coefficients) == 1 else coefficients
    for a, b, c in rows:
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    ns_coefficients: Any,
    eps: float,
    ns_steps: int,
    adjust_lr_fn: str | None,
    rms: float,
    bias_correction: bool,
    eps_added: bool,
    inputs_first: bool,
    adaptive: bool,
    preconditioning: str,
) -> tuple[Array, State]:
    buf = momentum * state["buf"] + (1 - momentum) * g
    now = 1 - momentum**t if bias_correction else 1.0
    ahead = 1 - momentum ** (t + 1) if bias_correction else 1.0
    x = (1 - momentum) * g / now + momentum * buf / ahead if nesterov else buf / now
    o = orthogonal(x, ns_coefficients, ns_steps, eps, eps_added, preconditioning)
    if adaptive:
        o = np.sum(x * o) * o
    rows, columns = p.shape[::-1] if inputs_first else p.shape
    if adjust_lr_fn == "match_rms_adamw":
        factor = rms * np.sqrt(max(rows, columns))
    else:
        factor = np.sqrt(max(1, rows / max(columns, 1)))
    p = p - lr * weight_decay * p
    return p - lr * factor * o, {"buf": buf}


def check(options: Options) -> None:
    non_negative("muon", options, "lr", "weight_decay", "momentum", "eps", "rms", "ns_steps")
    momentum, how, fn = (options[k] for k in ("momentum", "preconditioning", "adjust_lr_fn"))
    require(
        not options["bias_correction"] or momentum < 1,
        f"muon: momentum is {momentum!r} with bias_correction, expected a number below 1",
    )
    steps, given = options["ns_steps"], options["ns_coefficients"]
    require(
        steps < 100 and steps == int(steps),
        f"muon: ns_steps is {steps!r}, expected a whole number below 100",
    )
    shape = np.shape(given)
    require(
        shape == (3,) or (len(shape) == 2 and shape[1] == 3 and shape[0] <= steps),
        f"muon: ns_coefficients is {given!r}, expected three numbers (or at most ns_steps triples)",
    )
    require(
        fn in (None, "original", "match_rms_adamw"),
        f"muon: adjust_lr_fn is {fn!r}, expected None, 'original' or 'match_rms_adamw'",
    )
    require(
        how in ("frobenius", "spectral", "aol", "schatten"),
        f"muon: preconditioning is {how!r}, expected 'frobenius', 'spectral', 'aol' or 'schatten'",
    )


OPTAX = {"eps": 1e-8, "bias_correction": True, "eps_added": True, "inputs_first": True}
TRIPLES = ((4.1, -6.9, 2.9), (3.7, -5.6, 2.3), (2.8, -3.0, 1.2))

SPEC = Optimizer(
    name="muon",
    path="optimizers/muon",
    doc=__doc__,
    options={
        "lr": 1e-3,
        "weight_decay": 0.1,
        "momentum": 0.95,
        "nesterov": True,
        "ns_coefficients": (3.4445, -4.7750, 2.0315),
        "eps": 1e-7,
        "ns_steps": 5,
        "adjust_lr_fn": None,
        "rms": 0.2,
        "bias_correction": False,
        "eps_added": False,
        "inputs_first": False,
        "adaptive": False,
        "preconditioning": "frobenius",
    },
    state=("buf",),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.2, "momentum": 0.6, "nesterov": False, "weight_decay": 0.3, "eps": 0.5},
        {"lr": 0.3, "momentum": 0.7, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
        {"lr": 0.1, "momentum": 0.8, "ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 4},
        {**OPTAX, "lr": 0.1, "momentum": 0.8, "weight_decay": 0.3, "eps": 0.4},
        {**OPTAX, "lr": 0.1, "nesterov": False, "eps": 0.3, "adaptive": True, "ns_steps": 3},
        {**OPTAX, "lr": 0.1, "preconditioning": "spectral", "ns_coefficients": TRIPLES},
        {**OPTAX, "lr": 0.1, "preconditioning": "aol", "ns_steps": 4},
        {
            **OPTAX,
            "lr": 0.1,
            "momentum": 0.7,
            "preconditioning": "schatten",
            "adjust_lr_fn": "match_rms_adamw",
            "rms": 0.3,
            "ns_steps": 2,
        },
    ),
    rejects=(
        Reject("muon: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("muon: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("muon: momentum is -1, expected a number at least 0", {}, {"momentum": -1}),
        Reject("muon: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("ns_steps is 100, expected a whole number below 100", {}, {"ns_steps": 100}),
        Reject("ns_steps is 2.5, expected a whole number", {}, {"ns_steps": 2.5}),
        Reject("ns_coefficients is (1, 2), expected three", {}, {"ns_coefficients": (1, 2)}),
        Reject("adjust_lr_fn is 'loud', expected None, 'orig", {}, {"adjust_lr_fn": "loud"}),
        Reject("preconditioning is 'svd', expected 'fro", {}, {"preconditioning": "svd"}),
        Reject("rms is -1, expected a number at least 0", {}, {"rms": -1}),
        Reject(
            "momentum is 1.0 with bias_correction, expected a number below 1",
            {},
            {"momentum": 1.0, "bias_correction": True},
        ),
    ),
)
