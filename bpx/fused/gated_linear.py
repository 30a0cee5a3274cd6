r"""Gated linear unit and the linear layer after it, which end a transformer's feed-forward block.

    h = x f(gate)
    y = h weight^T + bias

f is the logistic sigmoid, silu, gelu (with erfc, or its tanh form) or the rectifier. h, which is as
large as x and gate, is not kept for backward: it is computed again from them.
Source: Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202, equation 6; computing
again what is cheap: Chen, Xu, Zhang, Guestrin 2016, "Training Deep Nets with Sublinear Memory
Cost", arXiv:1604.06174.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.activations import gated
from bpx.dims import Dims
from bpx.layers import linear
from bpx.spec import Arg, Case, Op, Options, Reject, one_of

# activation -> the entry of the unit, and its options
UNITS: dict[str, tuple[Op, Options]] = {
    "sigmoid": (gated.glu, {}),
    "silu": (gated.swiglu, {}),
    "gelu": (gated.geglu, {"approximate": "none"}),
    "gelu_tanh": (gated.geglu, {"approximate": "tanh"}),
    "relu": (gated.reglu, {}),
}

KINKS = "0 at gate = 0 with relu (as relu in torch and JAX)"


def forward(x: Any, gate: Any, weight: Any, bias: Any = None, *, activation: str) -> Any:
    unit, options = UNITS[activation]
    h, _ = unit.forward(x, gate, **options)
    y, _ = linear.forward(h, weight, bias)
    return y, ()


def backward(dy: Any, x: Any, gate: Any, weight: Any, bias: Any = None, *, activation: str) -> Any:
    """The adjoint of forward, line by line from the bottom."""
    unit, options = UNITS[activation]
    h, _ = unit.forward(x, gate, **options)
    dh, dweight, dbias = linear.backward(dy, h, weight, bias)  # y = h weight^T + bias
    dx, dgate = unit.backward(dh, x, gate, **options)  # h = x f(gate)
    return dx, dgate, dweight, dbias


def check(dims: Dims, o: Options) -> None:
    one_of("gated_linear", "activation", o["activation"], tuple(UNITS))


def cases(draw: Any) -> Iterator[Case]:
    for activation in UNITS:
        chosen = {"activation": activation}
        x, gate = draw(2, 3, 5), draw(2, 3, 5)
        given = {"x": x, "gate": gate, "weight": draw(7, 5), "bias": draw(7)}
        yield Case(f"{activation}", given, chosen)
    kinks = {"x": draw(1, 3), "gate": np.array([[0.0, -0.0, 1.5]]), "weight": draw(2, 3)}
    yield Case("kinks", {**kinks, "bias": None}, {"activation": "relu"}, kink=KINKS)
    small = {"x": draw(3, 5), "gate": draw(3, 5), "weight": draw(2, 5), "bias": None}
    yield Case("no bias", small)
    row = {"x": draw(5), "gate": draw(5), "weight": draw(3, 5), "bias": draw(3)}
    yield Case("one row", row)
    yield Case(
        "one in", {"x": draw(3, 1), "gate": draw(3, 1), "weight": draw(2, 1), "bias": draw(2)}
    )
    empty = {"x": draw(0, 5), "gate": draw(0, 5), "weight": draw(3, 5), "bias": draw(3)}
    yield Case("no rows", empty)
    none = {"x": draw(2, 0), "gate": draw(2, 0), "weight": draw(3, 0), "bias": draw(3)}
    yield Case("no in", none)


_SHAPES = {"x": (2, 5), "gate": (2, 5), "weight": (7, 5), "bias": None}

SPEC = Op(
    name="gated_linear",
    path="fused/gated_linear",
    doc=__doc__,
    args=(
        Arg("x", "*N I"),
        Arg("gate", "*N I"),
        Arg("weight", "O I"),
        Arg("bias", "O", optional=True),
    ),
    out="*N O",
    saves=("x", "gate", "weight"),
    options={"activation": "silu"},
    check=check,
    kinks=KINKS,
    rejects=(
        Reject("gate has shape (2, 4), but dim I is 5", _SHAPES | {"gate": (2, 4)}),
        Reject("weight has shape (5, 7), but dim I is 5", _SHAPES | {"weight": (5, 7)}),
        Reject("bias has shape (5,), but dim O is 7", _SHAPES | {"bias": (5,)}),
        Reject("gate is None, expected (*N I)", _SHAPES | {"gate": None}),
        Reject(
            "activation is 'swish', expected one of ['sigmoid', 'silu'",
            _SHAPES,
            {"activation": "swish"},
        ),
        Reject("it takes ['activation']", _SHAPES, {"gated": True}),
    ),
    bench={
        "small": {"N": 64, "I": 64, "O": 64},
        "typical": {"N": 512, "I": 688, "O": 256},
        "large": {"N": 1024, "I": 2048, "O": 1024},
        "odd": {"N": 101, "I": 67, "O": 33},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
