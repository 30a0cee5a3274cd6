"""Gated linear units for PyTorch. Maths, choices and source: bpx/activations/gated.py.

1 - sigmoid(g) is written sigmoid(-g), which keeps its digits where sigmoid(g) rounds to 1.
"""

from collections.abc import Callable

import torch

from bpx.activations import gated as spec
from bpx.rule import Kernel
from bpx.spec import Op
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.kernels import triton
from bpx_torch.kernels.cpu import gated as cpu

SQRT_HALF, SQRT_2_PI = 0.7071067811865476, 2.5066282746310002
TWO_SQRT_2_OVER_PI, CUBIC = 1.5957691216057308, 0.044715
FAR = 30.0  # where the slope of the tanh form's sigmoid is 0 even in float64


def row(spec: Op, f: Callable, df: Callable) -> Rule:
    """y = x f(gate), df the derivative of f; both see float32 at least."""

    def widened(x, gate):
        x = at_least_float32(x)
        return x, gate.to(x.dtype)

    def forward(x, gate, **options):
        xf, g = widened(x, gate)
        return (xf * f(g, **options)).to(x.dtype), ()

    def backward(dy, arrays, residuals, needs, **options):
        # dx = dy f(gate),  dgate = dy f'(gate) x, which overflows only where the product does
        x, g = widened(*arrays)
        dy = dy.to(x.dtype)
        dx = (dy * f(g, **options)).to(arrays[0].dtype) if needs[0] else None
        dgate = (dy * df(g, **options) * x).to(arrays[1].dtype) if needs[1] else None
        return dx, dgate

    def tangent(tangents, arrays, residuals, **options):
        # dy = dx f(gate) + x f'(gate) dgate
        x, g = widened(*arrays)
        dx, dgate = (None if t is None else t.to(x.dtype) for t in tangents)
        dy = torch.zeros_like(x) if dx is None else dx * f(g, **options)
        if dgate is not None:
            dy = dy + x * df(g, **options) * dgate
        return dy.to(arrays[0].dtype)

    kernels = (cpu.kernel(spec), *triton.kernels(spec.name))
    return Rule(spec, (*kernels, Kernel("plain", forward, backward, tangent)))


def _dsilu(g):
    # s + g s', with s' = s (1 - s)
    return torch.sigmoid(g) * (1 + g * torch.sigmoid(-g))


def _gelu(g, approximate):
    if approximate == "tanh":
        return g * torch.sigmoid(TWO_SQRT_2_OVER_PI * (g + CUBIC * g**3))
    return 0.5 * g * torch.special.erfc(-SQRT_HALF * g)


def _dgelu(g, approximate):
    if approximate == "tanh":
        # s + g s (1 - s) u', with u the argument of the sigmoid
        u = TWO_SQRT_2_OVER_PI * (g + CUBIC * g**3)
        near = g.clamp(-FAR, FAR)
        du = TWO_SQRT_2_OVER_PI * (1 + 3 * CUBIC * near * near)
        return torch.sigmoid(u) * (1 + near * torch.sigmoid(-u) * du)
    # Phi(g) + g phi(g)
    return 0.5 * torch.special.erfc(-SQRT_HALF * g) + g * torch.exp(-0.5 * g * g) / SQRT_2_PI


GLU = row(spec.glu, torch.sigmoid, lambda g: torch.sigmoid(g) * torch.sigmoid(-g))
SWIGLU = row(spec.swiglu, lambda g: g * torch.sigmoid(g), _dsilu)
GEGLU = row(spec.geglu, _gelu, _dgelu)
REGLU = row(spec.reglu, torch.relu, lambda g: torch.where(g <= 0, 0.0, torch.ones_like(g)))


def glu(x, gate):
    """x sigmoid(gate), element by element (one shape)."""
    return GLU(x, gate)


def swiglu(x, gate):
    """x gate sigmoid(gate), element by element (one shape)."""
    return SWIGLU(x, gate)


def geglu(x, gate, *, approximate="none"):
    """x gelu(gate), element by element (one shape); approximate as in gelu."""
    return GEGLU(x, gate, approximate=approximate)


def reglu(x, gate):
    """x max(gate, 0), element by element (one shape). Derivative at gate = 0: 0."""
    return REGLU(x, gate)


RULES = {"glu": GLU, "swiglu": SWIGLU, "geglu": GEGLU, "reglu": REGLU}
