"""adaptive_max_pool for JAX. Maths, shapes and source: bpx/layers/adaptive_max_pool.py."""

from bpx.layers.adaptive_max_pool import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._adaptive import first_maxima, windows
from bpx_jax.layers._window import give


def forward(x, *, output_size):
    return windows(x, output_size).max(-1), ()


def backward(dy, arrays, residuals, needs, *, output_size):
    # dx_p = sum of dy over the windows whose maximum lies at p
    (x,) = arrays
    return (give(at_least_float32(dy), first_maxima(x, output_size), x),)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.adaptive_max_pool"),
        Kernel("plain", forward, backward),
    ),
)


def adaptive_max_pool(x, *, output_size=1):
    """x (B C *S), one to three axes S; y (B C *O), the maxima over O windows; 1: over all of S."""
    return RULE(x, output_size=output_size)
