"""Counter-based random numbers for JAX: jax.random itself, whose bits bpx.random reproduces.

The rules of bpx.random hold on every platform: Threefry in the partitionable layout, whatever
jax_threefry_partitionable says. A key is a typed JAX key, a uint32 array of shape (2,), or an int
seed. Sources: bpx/random.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from bpx.random import checked_shape, checked_width, key_words, seed_words
from bpx.spec import require

IMPLEMENTATION = "threefry2x32"


def key(seed):
    """The typed key of a seed in -2**63 <= seed < 2**64, the same with and without x64."""
    return _wrap(np.array(seed_words(seed), np.uint32))


def as_key(key):
    """A typed Threefry key from a typed key, uint32 data of shape (2,), or a seed."""
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        name = str(jax.random.key_impl(key))
        require(
            name in (IMPLEMENTATION, "fry"),
            f"random: key is of {name}, expected a key of {IMPLEMENTATION}",
        )
        return key
    if isinstance(key, jax.Array):
        require(
            key.dtype == jnp.uint32 and key.shape == (2,),
            f"random: key is {key.dtype} of shape {key.shape}, expected uint32 of shape (2,) "
            "or a seed",
        )
        return _wrap(key)
    return _wrap(np.array(key_words(key), np.uint32))


def key_data(key):
    """The uint32 (2,) words of a key or seed."""
    return jax.random.key_data(as_key(key))


def split(key, n=2):
    """New typed keys: (n,), or n for a tuple."""
    shape = checked_shape(n if isinstance(n, tuple | list) else (n,))
    with jax.threefry_partitionable(True):
        return jax.random.split(as_key(key), shape)


def fold_in(key, data):
    """A new typed key from a key and an integer in 0 <= data < 2**32."""
    return jax.random.fold_in(as_key(key), data)


def bits(key, shape, width=32):
    """Random unsigned integers of 8, 16, 32 or 64 bits (64 under jax_enable_x64)."""
    dtype = np.dtype(f"u{checked_width(width) // 8}")
    with jax.threefry_partitionable(True):
        return jax.random.bits(as_key(key), checked_shape(shape), dtype)


def words(key, rows, columns):
    """The 32 random bits at every row and column: those of bpx.random.words. rows and columns are
    uint32 of two shapes that broadcast."""
    rows, columns = jnp.broadcast_arrays(rows, columns)
    # the halves of the counter are the words x0 and x1 of the cipher
    out = threefry_2x32(key_data(key), jnp.stack([rows, columns]).astype(jnp.uint32))
    return out[0] ^ out[1]


def uniform(key, shape, dtype=jnp.float32, minval=0.0, maxval=1.0):
    """Uniform in [minval, maxval), float32 or float64."""
    with jax.threefry_partitionable(True):
        return jax.random.uniform(as_key(key), checked_shape(shape), dtype, minval, maxval)


def bernoulli(key, p=0.5, shape=(), dtype=jnp.float32):
    """True with probability p: uniform(key, shape, dtype) < p in that dtype."""
    return uniform(key, shape, dtype) < jnp.asarray(p, dtype)


def normal(key, shape, dtype=jnp.float32):
    """Standard normal, float32 or float64."""
    with jax.threefry_partitionable(True):
        return jax.random.normal(as_key(key), checked_shape(shape), dtype)


def _wrap(data):
    return jax.random.wrap_key_data(jnp.asarray(data), impl=IMPLEMENTATION)
