"""log_softmax for JAX. Maths, shapes and source: bpx/layers/log_softmax.py."""

import jax
import jax.numpy as jnp

from bpx.layers.log_softmax import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def forward(x, *, dim):
    xf = at_least_float32(x)
    # y does not depend on the maximum, so it is a constant
    z = xf - jax.lax.stop_gradient(xf.max(dim, keepdims=True, initial=-jnp.inf))
    y = (z - jnp.log(jnp.exp(z).sum(dim, keepdims=True))).astype(x.dtype)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, dim):
    # dx = dy - softmax(x) sum(dy): dy through x itself, the rest through log(sum(e^x))
    yf, dyf = at_least_float32(residuals[0]), at_least_float32(dy)
    return ((dyf - jnp.exp(yf) * dyf.sum(dim, keepdims=True)).astype(dy.dtype),)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.log_softmax"),
        Kernel.lazy("pallas", "bpx_jax.kernels.pallas.log_softmax"),
        Kernel("plain", forward, backward),
    ),
)


def log_softmax(x, *, dim=-1):
    """Logarithm of the softmax of x (*N) over `dim`. Maths: bpx/layers/log_softmax.py."""
    return RULE(x, dim=dim)
