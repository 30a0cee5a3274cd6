"""max_pool for JAX. Maths, shapes and source: bpx/layers/max_pool.py."""

import jax
import numpy as np

from bpx.layers.max_pool import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._window import dilated_maxima, first_maxima, geometry, give


def forward(x, **options):
    how = geometry(x, options)
    if max(how["window_dilation"]) > 1:
        # RULE.forward stays differentiable by JAX, which lacks the rule for dilated maxima
        return dilated_maxima(x, options), ()
    return jax.lax.reduce_window(x, np.array(-np.inf, x.dtype), jax.lax.max, **how), ()


def backward(dy, arrays, residuals, needs, **options):
    # dx_p = sum of dy over the windows whose maximum lies at p
    (x,) = arrays
    return (give(at_least_float32(dy), first_maxima(x, options), x),)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.max_pool"),
        Kernel("plain", forward, backward),
    ),
)


def max_pool(x, *, kernel_size=2, stride=None, padding=0, dilation=1, ceil_mode=False):
    """x (B C *S), one to three axes S; y (B C *O). The first of equal maxima gets the gradient."""
    return RULE(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
