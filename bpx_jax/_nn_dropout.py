"""Dropout from a key, re-exported by bpx_jax.nn."""

import jax.numpy as jnp

from bpx.layers.dropout import mask_shape
from bpx.profiles import profiled
from bpx_jax._rule import untraced
from bpx_jax.layers import dropout as _dropout


@profiled("dropout", lambda o: {"rate": o["p"]})
def dropout(x, key, rate, *, broadcast_dims=(), deterministic=False):
    """x / (1 - rate) where the mask drawn from key keeps, else 0; one decision for all along
    broadcast_dims. One bit a decision is kept for backward. deterministic=True gives x itself."""
    x, rate = jnp.asarray(x), untraced("dropout", "rate", rate)
    if deterministic or rate == 0:
        return x
    bits = _dropout.keep_bits(key, mask_shape(x.shape, broadcast_dims), p=rate)
    return _dropout.dropout(x, bits, p=rate, broadcast_dims=broadcast_dims)
