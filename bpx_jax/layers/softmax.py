"""softmax for JAX. Maths, shapes and source: bpx/layers/softmax.py."""

import jax
import jax.numpy as jnp

from bpx.layers.softmax import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def forward(x, *, dim):
    xf = at_least_float32(x)
    # y does not depend on the maximum, so it is a constant
    e = jnp.exp(xf - jax.lax.stop_gradient(xf.max(dim, keepdims=True, initial=-jnp.inf)))
    y = (e / e.sum(dim, keepdims=True)).astype(x.dtype)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, dim):
    # y (dy - sum(dy y)): dy through the numerator, the sum through the denominator
    yf, dyf = at_least_float32(residuals[0]), at_least_float32(dy)
    return ((yf * (dyf - (dyf * yf).sum(dim, keepdims=True))).astype(dy.dtype),)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.softmax"),
        Kernel.lazy("pallas", "bpx_jax.kernels.pallas.softmax"),
        Kernel("plain", forward, backward),
    ),
)


def softmax(x, *, dim=-1):
    """Softmax of x (*N) over `dim`. Maths: bpx/layers/softmax.py."""
    return RULE(x, dim=dim)
