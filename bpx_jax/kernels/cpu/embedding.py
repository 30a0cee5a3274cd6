"""embedding for JAX on the CPU, on XLA's own threads: rows copied, and their gradients added in the
order of the indices, whatever the number of threads. Maths, shapes and source:
bpx/layers/embedding.py."""

import math

import jax
import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic


def refuses(arrays, dims):
    indices, weight = arrays
    if jnp.issubdtype(indices.dtype, jnp.unsignedinteger) and indices.dtype.itemsize >= 4:
        return f"indices is {indices.dtype}"  # no signed integer that the kernel reads holds all
    return _ffi.refuses((weight, indices))


def wide(indices):
    """Indices as the kernel reads them."""
    return indices.astype(jnp.int32) if indices.dtype.itemsize < 4 else indices


@jax.custom_batching.custom_vmap
def rows(weight, index):
    sizes = (math.prod(index.shape), *weight.shape, index.dtype.itemsize)
    result = ((*index.shape, weight.shape[1]), weight.dtype)
    return _ffi.call("embedding_forward", weight.dtype, (weight, index), (result,), sizes)[0]


@rows.def_vmap
def _(size, batched, weight, index):
    """One table for a batch of indices is not repeated for each."""
    if not batched[0]:
        return rows(weight, index), True
    index = index if batched[1] else jnp.broadcast_to(index, (size, *index.shape))
    return jax.lax.map(lambda pair: rows(*pair), (weight, index)), True


def forward(indices, weight, *, padding_idx):
    return rows(jnp.asarray(weight), wide(indices)), ()  # JAX may hand over a NumPy array


def backward(dy, arrays, residuals, needs, *, padding_idx):
    indices, weight = arrays  # of weight its shape and dtype alone
    dtype, index = weight.dtype, wide(indices)
    constant = -1 if padding_idx is None else padding_idx
    sizes = (math.prod(index.shape), *weight.shape, index.dtype.itemsize, constant)
    result = (weight.shape, arithmetic(dtype))
    given = (dy.astype(dtype), index)
    return None, _ffi.call("embedding_backward", dtype, given, (result,), sizes)[0]
