"""avg_pool for JAX. Maths, shapes and source: bpx/layers/avg_pool.py."""

import jax.numpy as jnp

from bpx.layers.avg_pool import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._window import added, counted, spread


def divided(total, sizes, options):
    """total (B C *O) over the divisor of each window."""
    if options["divisor_override"] is not None:
        return total / options["divisor_override"]
    n = counted(sizes, options)
    return total / jnp.asarray(n.reshape(1, 1, *n.shape), total.dtype)


def forward(x, **options):
    total = added(at_least_float32(x), options)
    return divided(total, x.shape[2:], options).astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, **options):
    # dx_p = sum of dy_o / divisor_o over the windows o that hold p
    (x,) = arrays
    sizes = x.shape[2:]
    return (spread(divided(at_least_float32(dy), sizes, options), sizes, options),)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.avg_pool"),
        Kernel("plain", forward, backward),
    ),
)


def avg_pool(
    x,
    *,
    kernel_size=2,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    """x (B C *S), one to three axes S; y (B C *O), the means over windows."""
    return RULE(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
