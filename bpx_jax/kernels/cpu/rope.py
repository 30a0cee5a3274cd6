"""rope for JAX on the CPU, on XLA's own threads. The tables' gradients are a call of their own,
which XLA drops where nobody asks for them. Maths, shapes and source: bpx/layers/rope.py."""

import math

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def sizes(x, cos, interleaved):
    """N, T, D, P and which are pairs."""
    return math.prod(x.shape[:-2]), *x.shape[-2:], cos.shape[1], interleaved


def turn(x, cos, sin, interleaved, way):
    statistic = arithmetic(x.dtype)
    given = (x, as_type(cos, statistic), as_type(sin, statistic))
    results = ((x.shape, x.dtype),)
    return _ffi.call("rope_turn", x.dtype, given, results, sizes(x, cos, interleaved), (way,))[0]


def forward(x, cos, sin, *, interleaved):
    return turn(x, cos, sin, interleaved, 1.0), ()


def backward(dy, arrays, residuals, needs, *, interleaved):
    x, cos, sin = arrays
    dy = dy.astype(x.dtype)
    table = (cos.shape, arithmetic(x.dtype))
    dx = turn(dy, cos, sin, interleaved, -1.0)
    turned = x[..., : 2 * cos.shape[1]]  # all that is kept of it
    given, shape = (dy[..., : turned.shape[-1]], turned), sizes(turned, cos, interleaved)
    return dx, *_ffi.call("rope_tables", x.dtype, given, (table, table), shape)
