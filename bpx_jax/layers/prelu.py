"""prelu for JAX. Maths, shapes and source: bpx/layers/prelu.py."""

import jax.numpy as jnp

from bpx.layers.prelu import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def slopes(weight, x, axis):
    """weight (K) beside x, along its channels, in the accumulation dtype of x."""
    shape = [1] * x.ndim
    if weight.shape[0] != 1:
        shape[axis] = -1
    return weight.astype(at_least_float32(x).dtype).reshape(shape)


def forward(x, weight, *, axis):
    xf = at_least_float32(x)
    return jnp.where(xf > 0, xf, slopes(weight, x, axis) * xf).astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, axis):
    # dx = dy where x > 0, weight dy elsewhere;  dweight = sum(x dy where x <= 0) but for channels
    x, weight = arrays
    xf, dyf = at_least_float32(x), at_least_float32(dy)
    channels = axis % x.ndim if weight.shape[0] != 1 else None
    rest = tuple(i for i in range(x.ndim) if i != channels)
    dx = jnp.where(xf > 0, dyf, slopes(weight, x, axis) * dyf).astype(x.dtype)
    dweight = jnp.where(xf > 0, 0.0, xf * dyf).sum(rest).reshape(weight.shape)
    return dx, dweight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.prelu"),
        Kernel("plain", forward, backward),
    ),
)


def prelu(x, weight, *, axis=1):
    """x (*N) above 0, weight (K) times x below; K is 1 or the size of x along `axis`."""
    return RULE(x, weight, axis=axis)
