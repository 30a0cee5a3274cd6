"""embedding_bag for JAX on the CPU, on XLA's own threads: no row is copied, and sums go in the
order of the indices, whatever the number of threads. Maths, shapes and source:
bpx/layers/embedding_bag.py."""

import functools

import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi, _losses, embedding
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type
from bpx_jax.kernels.cpu.embedding import wide

# a batch of indices does not repeat the table
call = functools.partial(_ffi.call, vmap="sequential")


def refuses(arrays, dims):
    indices, weight, bags, shares = arrays
    for picks in indices, bags:
        if (reason := embedding.refuses((picks, weight), dims)) is not None:
            return reason
    return _losses.refuses((weight,), shares)


def sizes(index, weight, bag, num_bags, mode, padding_idx):
    constant = -1 if padding_idx is None else padding_idx
    widths = index.dtype.itemsize, bag.dtype.itemsize
    return index.size, *weight.shape, *widths, num_bags, int(mode == "mean"), constant


def forward(indices, weight, bags, per_sample_weights, *, num_bags, mode, padding_idx):
    weight = jnp.asarray(weight)  # JAX may hand over a NumPy array
    dtype, index, bag = weight.dtype, wide(indices), wide(bags)
    of = sizes(index, weight, bag, num_bags, mode, padding_idx)
    given = (weight, index, bag, as_type(per_sample_weights, dtype))
    result = (num_bags, weight.shape[1]), dtype
    return call("embedding_bag_forward", dtype, given, (result,), of)[0], ()


def backward(dy, arrays, residuals, needs, *, num_bags, mode, padding_idx):
    indices, weight, bags, shares = arrays
    weight = jnp.asarray(weight)
    dtype, index, bag = weight.dtype, wide(indices), wide(bags)
    of = sizes(index, weight, bag, num_bags, mode, padding_idx)
    given = (dy.astype(dtype), weight, index, bag, as_type(shares, dtype))
    results = (
        (weight.shape, arithmetic(dtype)) if needs[1] else None,
        (index.shape, arithmetic(dtype)) if needs[3] else None,
    )
    dweight, dshares = call("embedding_bag_backward", dtype, given, results, of)
    return None, dweight, None, dshares
