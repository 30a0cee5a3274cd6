"""The formulas for 16 bits in Triton, before their results are rounded to 16 bits, and when they
are chosen. All values, rounded: tests/test_every_value.py."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")


import bpx
from bpx.rule import use
from bpx.verify.bound import PATH, UNIT, movement
from bpx_torch.kernels.triton import _formulas_half as half
from bpx_torch.kernels.triton import _formulas_piecewise as piecewise
from bpx_torch.kernels.triton import _formulas_smooth as smooth
from bpx_torch.kernels.triton import _launch, elementwise
from tests import gpu_instructions

SPECS = {spec.name: spec for spec in bpx.ALL}
CALLS = [
    *((name, {}) for name in ("sigmoid", "tanh", "log_sigmoid", "silu", "mish", "arctan")),
    *(("softplus", {"beta": b, "threshold": t}) for b, t in ((1.0, 20.0), (-0.7, math.inf))),
    *(("gelu", {"approximate": form}) for form in ("none", "tanh")),
    *((name, {"alpha": a}) for name in ("elu", "celu") for a in (1.0, 1.7)),
    *(("squareplus", {"b": b}) for b in (4.0, 0.3)),
    *((name, {}) for name in ("selu", "tanhshrink")),
]
FLUSHED = 2.0**-116  # a factor below 2^-126 is 0, whose other factors are below 2^10


def points():
    """Values of every magnitude that a function bends in, and the ends of the pieces."""
    rng = np.random.default_rng(11)
    wide = rng.choice([-1, 1], 3000) * np.exp2(rng.uniform(-20, 7, 3000))
    ends = np.array([0.0, 0.3, 0.4, 1.0, 13.3, 30.0, 1e4, 1e30])
    return np.concatenate([wide, ends, -ends]).astype(np.float32)


@pytest.mark.parametrize(("name", "options"), CALLS)
def test_a_formula_is_as_near_as_float32_asks(name, options, monkeypatch):
    gpu_instructions.approximate(monkeypatch)
    spec, x = SPECS[name], points()
    dy = np.random.default_rng(12).uniform(0.5, 2, x.shape).astype(np.float32)
    called, a, b = elementwise.numbers(name, spec.complete(options))
    given, out = torch.tensor(x), torch.empty(len(x))
    known = {"A": a, "B": b, "MASKED": False, **elementwise.meta(given)}
    found = []
    with use("triton", interpret=True):
        f, df = getattr(half, called), getattr(half, f"d{called}")
        size = elementwise.grid(given)
        _launch.run(
            elementwise.forward_kernel, size, given, given, out, out, len(x), F=f, M=f, **known
        )
        found.append(out.numpy().astype(float))
        _launch.run(
            elementwise.backward_kernel, size, given, torch.tensor(dy), given, out, len(x), F=df,
            **known,
        )  # fmt: skip
        found.append(out.numpy().astype(float))

    def exact(given):
        dy, x = given
        return [spec.forward(x, **options)[0], *spec.backward(dy, x, **options)]

    wide = [dy.astype(float), x.astype(float)]
    with np.errstate(all="ignore"):
        refs = exact(wide)
        moved = movement(exact, wide, refs)
    for got, ref, move in zip(found, refs, moved, strict=True):
        limit = PATH["float32"] * UNIT["float32"] * (move + np.abs(ref)) + FLUSHED
        wrong = np.flatnonzero(~(np.abs(got - ref) <= limit))
        assert not len(wrong), [(x[i], got[i], ref[i], limit[i]) for i in wrong[:5]]


def test_which_formula_is_chosen():
    for dtype in (torch.float16, torch.bfloat16):
        assert elementwise.formula("gelu", dtype, 0.0, 0.0) is half.gelu
        assert elementwise.derivative("celu", dtype, 1.5, 0.0) is half.dcelu
        assert elementwise.formula("softplus", dtype, 1.0, math.inf) is half.softplus
        assert elementwise.formula("relu", dtype) is piecewise.relu
        assert elementwise.derivative("exp", dtype) is smooth.dexp
        assert elementwise.derivative("softshrink", dtype, 0.5, 0.0) is piecewise.dshrink
    for dtype in (torch.float32, torch.float64):
        assert elementwise.formula("gelu", dtype, 0.0, 0.0) is smooth.gelu
        assert elementwise.formula("tanhshrink", dtype) is piecewise.tanhshrink


@pytest.mark.parametrize("alpha", [1e-20, 1e20])
def test_an_option_out_of_reach_takes_the_full_formula(alpha):
    assert elementwise.formula("celu", torch.bfloat16, alpha, 0.0) is smooth.celu
    assert elementwise.derivative("celu", torch.bfloat16, alpha, 0.0) is smooth.dcelu


def test_the_calls_are_those_of_every_formula():
    own = {n for n, f in vars(half).items() if getattr(f, "__module__", "") == half.__name__}
    called = {elementwise.numbers(n, SPECS[n].complete(o))[0] for n, o in CALLS}
    assert own == called | {f"d{n}" for n in called}
    for name in own:
        assert elementwise.formula(name, torch.float32) is not getattr(half, name)
