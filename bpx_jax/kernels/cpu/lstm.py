"""lstm for JAX on the CPU: the walk through the steps in the native core, an XLA FFI call on XLA's
threads. Maths, shapes and source: bpx/layers/lstm.py.
"""

import functools

import jax

from bpx_jax.kernels.cpu import _ffi, _recurrent
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type

refuses = _recurrent.refuses


@jax.jit
def forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths):
    wide = arithmetic(x.dtype)
    count, bytes = _recurrent.counts(lengths)
    (steps, batch, ins), units = x.shape, h0.shape[1]
    a, w_ih, bias = _recurrent.projected(x, w_ih, _recurrent.added(b_ih, b_hh))
    given = (a, *(as_type(v, wide) for v in (h0, c0, w_hh)), w_ih, bias, count)
    results = ((2, steps, batch, units), x.dtype), ((steps, batch, 4 * units), x.dtype)
    sizes = (steps, batch, units, bytes, ins)
    y, gates = _ffi.call("lstm_forward", x.dtype, given, results, sizes)
    return y, (y, gates)


@functools.partial(jax.jit, static_argnames="needs")
def backward(dy, arrays, residuals, needs):
    x, h0, c0, w_ih, w_hh, _, _, lengths = arrays
    y, gates = residuals
    wide = arithmetic(x.dtype)
    count, bytes = _recurrent.counts(lengths)
    (_, steps, batch, units), start = y.shape, (h0.shape, wide)
    w, dx = _recurrent.unprojected(x, w_ih, needs[0])
    given = (as_type(dy, x.dtype), y, gates, as_type(c0, wide), as_type(w_hh, wide), w, count)
    results = (gates.shape, wide), start, start, dx
    sizes = (steps, batch, units, bytes, x.shape[-1])
    over = {2: 0} if wide == x.dtype else {}  # da over the gates
    da, dh0, dc0, dx = _ffi.call("lstm_backward", x.dtype, given, results, sizes, aliases=over)
    needs = (needs[0], *needs[3:])
    dx, *rest = _recurrent.gradients(da, dx, x, h0, y, w_ih, lengths, needs)
    return dx, dh0, dc0, *rest, None
