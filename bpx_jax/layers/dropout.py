"""dropout for JAX. Maths, shapes and source: bpx/layers/dropout.py."""

import math

import jax.numpy as jnp

from bpx.layers.dropout import SPEC, factor, mask_shape, threshold
from bpx.rule import Kernel, asked
from bpx_jax import random
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.kernels.cpu import dropout as native


def keep_bits(key, shape, *, p):
    """The packed mask of a key: uint8, one bit for each element of shape, 1 with probability
    1 - p."""
    count, least = math.prod(shape), threshold(p)
    if asked() in (None, "cpu") and native.refuses_key(count) is None:
        return native.keep_bits(random.key_data(key), count, least)
    word = random.bits(key, shape)
    keep = word >= jnp.uint32(least) if least < 2**32 else jnp.zeros(shape, bool)
    return jnp.packbits(keep, bitorder="little")


def kept(bits, shape, p):
    """The mask as booleans, False everywhere for p = 1."""
    if p == 1:
        return jnp.zeros(shape, bool)
    keep = jnp.unpackbits(bits, count=math.prod(shape), bitorder="little")
    return keep.reshape(shape) == 1


def scaled(x, bits, p, broadcast_dims):
    keep = kept(bits, mask_shape(x.shape, broadcast_dims), p)
    y = jnp.where(keep, at_least_float32(x) * factor(p), 0.0)
    return y.astype(x.dtype)


def forward(x, bits, *, p, broadcast_dims):
    return scaled(x, bits, p, broadcast_dims), ()


def backward(dy, arrays, residuals, needs, *, p, broadcast_dims):
    # dx = dy / (1 - p) where the mask keeps, else 0
    return scaled(dy, arrays[1], p, broadcast_dims), None


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.dropout"),
        Kernel("plain", forward, backward),
    ),
)


def dropout(x, bits, *, p=0.5, broadcast_dims=()):
    """x (*N) / (1 - p) where the packed mask bits (uint8) keeps, else 0; one bit decides for all
    along broadcast_dims. `keep_bits` draws the mask. Maths: bpx/layers/dropout.py."""
    return RULE(x, bits, p=p, broadcast_dims=broadcast_dims)
