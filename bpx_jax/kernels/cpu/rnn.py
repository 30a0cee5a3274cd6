"""rnn for JAX on the CPU: the walk through the steps in the native core, an XLA FFI call on XLA's
threads. Maths, shapes and source: bpx/layers/rnn.py.
"""

import functools

import jax

from bpx_jax.kernels.cpu import _ffi, _recurrent
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type

refuses = _recurrent.refuses


@functools.partial(jax.jit, static_argnames="nonlinearity")
def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, *, nonlinearity):
    wide = arithmetic(x.dtype)
    count, bytes = _recurrent.counts(lengths)
    (steps, batch, ins), units = x.shape, h0.shape[1]
    a, w_ih, bias = _recurrent.projected(x, w_ih, _recurrent.added(b_ih, b_hh))
    given = (a, *(as_type(v, wide) for v in (h0, w_hh)), w_ih, bias, count)
    sizes = (steps, batch, units, bytes, int(nonlinearity == "relu"), ins)
    result = (steps, batch, units), x.dtype
    (y,) = _ffi.call("rnn_forward", x.dtype, given, (result,), sizes)
    return y, (y,)


@functools.partial(jax.jit, static_argnames=("needs", "nonlinearity"))
def backward(dy, arrays, residuals, needs, *, nonlinearity):
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    (y,) = residuals
    wide = arithmetic(x.dtype)
    count, bytes = _recurrent.counts(lengths)
    w, dx = _recurrent.unprojected(x, w_ih, needs[0])
    given = (as_type(dy, x.dtype), y, as_type(w_hh, wide), w, count)
    sizes = (*y.shape, bytes, int(nonlinearity == "relu"), x.shape[-1])
    results = (y.shape, wide), (h0.shape, wide), dx
    da, dh0, dx = _ffi.call("rnn_backward", x.dtype, given, results, sizes)
    needs = (needs[0], *needs[2:])
    dx, *rest = _recurrent.gradients(da, dx, x, h0, y, w_ih, lengths, needs)
    return dx, dh0, *rest, None
