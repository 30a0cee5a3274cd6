"""avg_pool for JAX on the CPU, on XLA's own threads. Of few windows side by side in a large array
XLA itself makes one loop, faster than a call. Maths, shapes and source: bpx/layers/avg_pool.py."""

import itertools
import math

import jax.numpy as jnp

from bpx.native import windows
from bpx_jax.kernels.cpu import _ffi, _pool_call

FEW = 16  # positions of a window
MANY = 1 << 16  # elements of x


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def how(x, options):
    """The axes, whether padding counts, and what takes the place of the number of positions."""
    axes = windows.given(x.shape[2:], options)
    return axes, options["count_include_pad"], options["divisor_override"]


def _tiles(axes, x):
    """(windows, their size) of every axis where few of them, side by side, are all there is."""
    tiles = [a[1:3] for a in axes[5 - x.ndim :]]
    side_by_side = all(a[2] == a[3] and a[1] * a[2] == a[0] and not a[4] for a in axes)
    few = x.size >= MANY and math.prod(k for _, k in tiles) <= FEW
    return tiles if side_by_side and few else None


def forward(x, **options):
    axes, with_padding, divisor = how(x, options)
    tiles = _tiles(axes, x)
    if tiles is None:
        return _pool_call.means(x, axes, with_padding, divisor), ()
    parts = x.reshape(*x.shape[:2], *itertools.chain(*tiles)).astype(_ffi.arithmetic(x.dtype))
    places = itertools.product(*(range(k) for _, k in tiles))
    y = sum(parts[(..., *itertools.chain(*((slice(None), i) for i in at)))] for at in places)
    return (y / (divisor or math.prod(k for _, k in tiles))).astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, **options):
    (x,) = arrays
    axes, with_padding, divisor = how(x, options)
    tiles = _tiles(axes, x)
    if tiles is None:
        return (_pool_call.means_backward(dy, x, axes, with_padding, divisor),)
    g = dy.astype(_ffi.arithmetic(x.dtype)) / (divisor or math.prod(k for _, k in tiles))
    for axis in range(2, 2 * x.ndim - 2, 2):
        g = jnp.expand_dims(g, axis + 1)
    parts = jnp.broadcast_to(g, (*x.shape[:2], *itertools.chain(*tiles)))
    return (parts.reshape(x.shape).astype(x.dtype),)
