"""adaptive_avg_pool for JAX. Maths, shapes and source: bpx/layers/adaptive_avg_pool.py."""

from bpx.layers.adaptive_avg_pool import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._adaptive import box_sum, divided, output_sizes


def forward(x, *, output_size):
    total, sizes = at_least_float32(x), x.shape[2:]
    for axis, out in enumerate(output_sizes(sizes, output_size), 2):
        total = box_sum(total, axis, out)
    return divided(total, sizes).astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, output_size):
    # dx_p = sum of dy_o / n_o over the windows o that hold p. They are themselves window p of S
    # over the O windows: o <= p O / S < o + 1 and the like.
    (x,) = arrays
    dx = divided(at_least_float32(dy), x.shape[2:])
    for axis, size in enumerate(x.shape[2:], 2):
        dx = box_sum(dx, axis, size)
    return (dx,)


NATIVE = Kernel.lazy("cpu", "bpx_jax.kernels.cpu.adaptive_avg_pool")
RULE = Rule(SPEC, (NATIVE, Kernel("plain", forward, backward)))


def adaptive_avg_pool(x, *, output_size=1):
    """x (B C *S), one to three axes S; y (B C *O), the means over O windows; 1: over all of S."""
    return RULE(x, output_size=output_size)
