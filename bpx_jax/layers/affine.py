"""affine for JAX. Maths, shapes and source: bpx/layers/affine.py."""

from bpx.layers.affine import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def forward(x, weight, bias):
    xf = at_least_float32(x)
    y = weight.astype(xf.dtype) * xf + bias.astype(xf.dtype)
    return y.astype(x.dtype), ()


def backward(dy, arrays, residuals, needs):
    # dx = weight dy,  dweight = sum(x dy),  dbias = sum(dy)
    x, weight, _ = arrays
    dyf = at_least_float32(dy)
    dx = (dyf * weight.astype(dyf.dtype)).astype(x.dtype)
    dweight = (dyf * x.astype(dyf.dtype)).sum()
    dbias = dyf.sum()
    return dx, dweight, dbias


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.affine"),
        Kernel("plain", forward, backward),
    ),
)


def affine(x, weight, bias):
    """weight * x + bias; x (*N), weight and bias scalars. Maths: bpx/layers/affine.py."""
    return RULE(x, weight, bias)
