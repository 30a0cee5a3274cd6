"""jax.nn.glu over the rule of bpx, re-exported by bpx_jax.nn."""

import jax.numpy as jnp

from bpx.spec import require
from bpx_jax.activations import gated


def glu(x, axis=-1):
    x = jnp.asarray(x)
    known = -x.ndim <= axis < x.ndim and x.shape[axis] % 2 == 0
    require(known, f"glu: axis is {axis} of an array of shape {x.shape}, expected one of even size")
    return gated.glu(*jnp.split(x, 2, axis))
