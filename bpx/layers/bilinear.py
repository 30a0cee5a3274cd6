r"""Bilinear form of two inputs, over their last axes.

    p_ij = x1_i x2_j
    y_o  = sum_ij p_ij weight_oij + bias_o

Source: elementary; Tenenbaum, Freeman 2000, "Separating Style and Content with Bilinear Models",
Neural Computation 12(6), symmetric model; shapes as in torch.nn.Bilinear.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bpx.spec import Arg, Case, Op, Reject


def forward(x1: Any, x2: Any, weight: Any, bias: Any = None) -> Any:
    p = x1[..., :, None] * x2[..., None, :]
    y = (p[..., None, :, :] * weight).sum((-2, -1))
    return y + (0 if bias is None else bias), ()


def backward(dy: Any, x1: Any, x2: Any, weight: Any, bias: Any = None) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    rows = tuple(range(dy.ndim - 1))
    p = x1[..., :, None] * x2[..., None, :]
    dbias = None if bias is None else dy.sum(rows)  # y = sum_ij(p weight) + bias
    dterms = dy[..., :, None, None]
    dweight = (dterms * p[..., None, :, :]).sum(rows)
    dp = (dterms * weight).sum(-3)
    dx1 = (dp * x2[..., None, :]).sum(-1)  # p = x1 x2
    dx2 = (dp * x1[..., :, None]).sum(-2)
    return dx1, dx2, dweight, dbias


def cases(draw: Any) -> Iterator[Case]:
    def arrays(i: int, j: int, o: int, *rows: int, bias: bool = True) -> dict[str, Any]:
        return {
            "x1": draw(*rows, i),
            "x2": draw(*rows, j),
            "weight": draw(o, i, j),
            "bias": draw(o) if bias else None,
        }

    yield Case("3d", arrays(3, 4, 2, 2, 3))
    yield Case("no bias", arrays(5, 2, 3, 4, bias=False))
    yield Case("one row", arrays(3, 2, 1))
    yield Case("no rows", arrays(3, 2, 4, 0))


SPEC = Op(
    name="bilinear",
    path="layers/bilinear",
    doc=__doc__,
    args=(
        Arg("x1", "*N I"),
        Arg("x2", "*N J"),
        Arg("weight", "O I J"),
        Arg("bias", "O", optional=True),
    ),
    out="*N O",
    saves=("x1", "x2", "weight"),
    rejects=(
        Reject(
            "weight has shape (2, 5, 4), but dim I is 3",
            {"x1": (6, 3), "x2": (6, 4), "weight": (2, 5, 4), "bias": None},
        ),
        Reject(
            "x2 is None, expected (*N J)",
            {"x1": (6, 3), "x2": None, "weight": (2, 3, 4)} | {"bias": None},
        ),
        Reject(
            "bias has shape (3,), but dim O is 2",
            {"x1": (6, 3), "x2": (6, 4), "weight": (2, 3, 4), "bias": (3,)},
        ),
    ),
    bench={
        "small": {"N": 64, "I": 16, "J": 16, "O": 16},
        "typical": {"N": 512, "I": 32, "J": 32, "O": 32},
        "large": {"N": 1024, "I": 64, "J": 64, "O": 64},
        "odd": {"N": 101, "I": 17, "J": 13, "O": 11},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
