"""Gated linear units: x times a function of a second array, the gate, element by element.

Written with e^-|x| or with complementary functions, so that for |gate| up to 1e4 no branch
overflows and the tail that tends to zero keeps its digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.elementwise import TAILS
from bpx.spec import Arg, Case, Op, Options, Reject, one_of
from bpx.special import erfc

SQRT_HALF, SQRT_2_PI = 0.7071067811865476, 2.5066282746310002
SQRT_2_OVER_PI, CUBIC = 0.7978845608028654, 0.044715


def row(
    name: str,
    doc: str,
    f: Callable[..., Any],
    df: Callable[..., Any],
    *,
    kinks: str = "none",
    options: Options | None = None,
    loud: tuple[Options, ...] = (),
    check: Callable[[Dims, Options], None] | None = None,
    rejects: tuple[Reject, ...] = (),
) -> Op:
    """y = x f(gate); `df` is the derivative of f, `kinks` its value where it jumps, at 0."""

    def forward(x: Any, gate: Any, **chosen: Any) -> Any:
        opened = f(gate, **chosen)
        return x * opened, ()

    def backward(dy: Any, x: Any, gate: Any, **chosen: Any) -> Any:
        """The adjoint of forward, line by line from the bottom."""
        opened = f(gate, **chosen)
        dx = dy * opened  # y = x * opened
        dopened = dy * x
        dgate = dopened * df(gate, **chosen)  # opened = f(gate)
        return dx, dgate

    def cases(draw: Any) -> Iterator[Case]:
        yield Case("2d", {"x": draw(3, 5), "gate": draw(3, 5)})
        yield Case("wide", {"x": draw(2, 3, 7), "gate": 4 * draw(2, 3, 7)})
        yield Case("scalar", {"x": draw(), "gate": draw()})
        yield Case("empty", {"x": draw(0, 3), "gate": draw(0, 3)})
        # large in the middle: autodiff of a textbook sigmoid is good to the largest gradient only
        sizes = draw.uniform(len(TAILS)) + np.where(np.abs(TAILS) < 1, 3.0, 0.0)
        yield Case("tails", {"x": sizes, "gate": np.array(TAILS)})
        for chosen in loud:
            words = "loud " + " ".join(map(str, chosen))
            yield Case(words, {"x": draw(3, 5), "gate": 2 * draw(3, 5)}, chosen)
        if kinks != "none":
            yield Case("kinks", {"x": draw(3), "gate": np.array([0.0, -0.0, 1.5])}, kink=kinks)

    return Op(
        name=name,
        path="activations/gated",
        doc=doc,
        args=(Arg("x", "*N"), Arg("gate", "*N")),
        out="*N",
        forward=forward,
        backward=backward,
        cases=cases,
        saves=("x", "gate"),
        options=options or {},
        check=check,
        rejects=(
            Reject("gate is None, expected (*N)", {"x": (2, 3), "gate": None}),
            Reject("gate has shape (3,), but dim N is (2, 3)", {"x": (2, 3), "gate": (3,)}),
            Reject("unknown option 'dim'", {"x": (2, 3), "gate": (2, 3)}, {"dim": 1}),
            *rejects,
        ),
        bench=rows.ELEMENTS,
        elementwise=True,
        kinks=kinks,
    )


def _sigmoid(x: Any) -> Any:
    t = np.exp(np.where(x.real < 0, x, -x))
    return np.where(x.real < 0, t, 1.0) / (1.0 + t)


def _dsigmoid(x: Any) -> Any:
    t = np.exp(-np.abs(x))
    return t / (1.0 + t) ** 2  # even in x


def _gelu(x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        return x * _sigmoid(2 * SQRT_2_OVER_PI * (x + CUBIC * x**3))
    return x * 0.5 * erfc(-x * SQRT_HALF)


def _dgelu(x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        u = 2 * SQRT_2_OVER_PI * (x + CUBIC * x**3)
        near = np.clip(x, -30.0, 30.0)  # dsigmoid(u) is 0 beyond, where x^2 overflows at last
        return _sigmoid(u) + near * _dsigmoid(u) * 2 * SQRT_2_OVER_PI * (1 + 3 * CUBIC * near**2)
    return 0.5 * erfc(-x * SQRT_HALF) + x * np.exp(-0.5 * x**2) / SQRT_2_PI


glu = row(
    "glu",
    """Gated linear unit.

    y = x sigmoid(gate)

In torch and JAX x and gate are the first and the second half of one array.
Source: Dauphin, Fan, Auli, Grangier 2016, "Language Modeling with Gated Convolutional Networks",
arXiv:1612.08083, equation 1.
""",
    f=_sigmoid,
    df=_dsigmoid,
)

swiglu = row(
    "swiglu",
    """Linear unit gated by the sigmoid linear unit.

    y = x gate sigmoid(gate)

Source: Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202, equation 5, beta = 1.
""",
    f=lambda x: x * _sigmoid(x),
    df=lambda x: _sigmoid(x) + x * _dsigmoid(x),
)

geglu = row(
    "geglu",
    """Linear unit gated by the Gaussian error linear unit.

    y = x gelu(gate)
    gelu(g) = g Phi(g),  Phi(g) = erfc(-g / sqrt(2)) / 2                  approximate="none"
    gelu(g) = g (1 + tanh(u)) / 2,  u = sqrt(2 / pi) (g + 0.044715 g^3)   approximate="tanh"

Source: Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202, equation 5; gelu:
Hendrycks, Gimpel 2016, arXiv:1606.08415, section 2.
""",
    f=_gelu,
    df=_dgelu,
    options={"approximate": "none"},
    loud=({"approximate": "tanh"},),
    check=lambda dims, o: one_of("geglu", "approximate", o["approximate"], ("none", "tanh")),
    rejects=(
        Reject(
            "approximate is 'erf', expected one of ['none', 'tanh']",
            {"x": (2, 3), "gate": (2, 3)},
            {"approximate": "erf"},
        ),
    ),
)

reglu = row(
    "reglu",
    """Linear unit gated by the rectifier.

    y = x max(gate, 0)

Source: Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202, equation 5.
""",
    f=lambda x: np.where(x.real <= 0, 0.0, x),
    df=lambda x: np.where(x <= 0, 0.0, 1.0),
    kinks="0 at gate = 0 (as relu in torch and JAX)",
)

ALL: tuple[Op, ...] = (glu, swiglu, geglu, reglu)
