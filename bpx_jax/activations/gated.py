"""Gated linear units for JAX. Maths, choices and source: bpx/activations/gated.py.

1 - sigmoid(g) is written sigmoid(-g), which keeps its digits where sigmoid(g) rounds to 1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bpx.activations import gated as spec
from bpx.rule import Kernel
from bpx.spec import Op
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.kernels.cpu import gated as cpu

SQRT_HALF, SQRT_2_PI = 0.7071067811865476, 2.5066282746310002
TWO_SQRT_2_OVER_PI, CUBIC = 1.5957691216057308, 0.044715
FAR = 30.0  # where the slope of the tanh form's sigmoid is 0 even in float64


def row(spec: Op, f: Callable, df: Callable) -> Rule:
    """y = x f(gate), df the derivative of f; both see float32 at least."""

    def widened(x, gate):
        x = at_least_float32(x)
        return x, gate.astype(x.dtype)

    def forward(x, gate, **options):
        xf, g = widened(x, gate)
        return (xf * f(g, **options)).astype(x.dtype), ()

    def backward(dy, arrays, residuals, needs, **options):
        # dx = dy f(gate),  dgate = dy f'(gate) x, which overflows only where the product does
        x, g = widened(*arrays)
        dy = dy.astype(x.dtype)
        dx = (dy * f(g, **options)).astype(arrays[0].dtype)
        return dx, (dy * df(g, **options) * x).astype(arrays[1].dtype)

    return Rule(spec, (*cpu.kernels(spec), Kernel("plain", forward, backward)))


def _dsilu(g):
    # s + g s', with s' = s (1 - s)
    return jax.nn.sigmoid(g) * (1 + g * jax.nn.sigmoid(-g))


def _gelu(g, approximate):
    if approximate == "tanh":
        return g * jax.nn.sigmoid(TWO_SQRT_2_OVER_PI * (g + CUBIC * g**3))
    return 0.5 * g * jax.lax.erfc(-SQRT_HALF * g)


def _dgelu(g, approximate):
    if approximate == "tanh":
        # s + g s (1 - s) u', with u the argument of the sigmoid
        u = TWO_SQRT_2_OVER_PI * (g + CUBIC * g**3)
        near = jnp.clip(g, -FAR, FAR)
        du = TWO_SQRT_2_OVER_PI * (1 + 3 * CUBIC * near * near)
        return jax.nn.sigmoid(u) * (1 + near * jax.nn.sigmoid(-u) * du)
    # Phi(g) + g phi(g)
    return 0.5 * jax.lax.erfc(-SQRT_HALF * g) + g * jnp.exp(-0.5 * g * g) / SQRT_2_PI


GLU = row(spec.glu, jax.nn.sigmoid, lambda g: jax.nn.sigmoid(g) * jax.nn.sigmoid(-g))
SWIGLU = row(spec.swiglu, lambda g: g * jax.nn.sigmoid(g), _dsilu)
GEGLU = row(spec.geglu, _gelu, _dgelu)
REGLU = row(
    spec.reglu,
    lambda g: jnp.where(g <= 0, 0.0, g),
    lambda g: jnp.where(g <= 0, 0.0, jnp.ones_like(g)),
)


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
