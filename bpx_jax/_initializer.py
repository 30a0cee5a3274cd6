"""An initializer as JAX arrays. The host draws the numbers, in bpx/initializers/_draw.py."""

import jax
import jax.numpy as jnp
import numpy as np

from bpx import spec
from bpx.initializers._draw import checked, draw, rounded
from bpx.spec import require
from bpx_jax.random import key_data


class Initializer:
    """`spec` is the entry's record, whose options a call takes by name."""

    def __init__(self, spec: spec.Initializer) -> None:
        self.spec = spec

    def __call__(self, key, shape, dtype=None, out_sharding=None, **options):
        """A new array of JAX's default floating dtype unless one is given.

        A traced key (jit, vmap) is drawn from in a callback to the host, by the same code, so the
        numbers are the same. Shape, dtype and options are never traced.
        """
        dtype = _canonical(self.spec.name, dtype)
        options = {name: _plain(value) for name, value in options.items()}
        shape, options = checked(self.spec, shape, options)

        def on_host(words):
            return rounded(draw(self.spec, np.asarray(words), shape, **options), dtype)

        if self.spec.moments is None:
            array = jnp.asarray(rounded(draw(self.spec, None, shape, **options), dtype))
        elif isinstance(key, jax.core.Tracer):
            out = jax.ShapeDtypeStruct(shape, dtype)
            array = jax.pure_callback(on_host, out, key_data(key), vmap_method="sequential")
        else:
            array = jnp.asarray(on_host(key_data(key)))
        return array if out_sharding is None else _placed(array, out_sharding)

    def bound(self, dtype, **options):
        """The initializer with its options: init(key, shape, dtype, out_sharding=None)."""

        def init(key, shape, dtype=dtype, out_sharding=None):
            return self(key, shape, dtype, out_sharding, **options)

        return init


def _canonical(entry, dtype):
    """The dtype JAX would give: the default one for None, float32 for float64 without x64."""
    dtype = jnp.zeros((), float if dtype is None else dtype).dtype
    floating = jnp.issubdtype(dtype, jnp.floating)
    require(floating, f"{entry}: dtype is {dtype}, expected a floating dtype")
    return dtype


def _plain(value):
    """An option as the specification takes it: JAX's scalars as numbers, its arrays as NumPy's."""
    if not isinstance(value, jax.Array):
        return value
    return value.item() if value.ndim == 0 else np.asarray(value, np.float64)


def _placed(array, sharding):
    if isinstance(sharding, jax.sharding.PartitionSpec):
        return jax.sharding.reshard(array, sharding)  # by the mesh in use
    return jax.device_put(array, sharding)
