"""gru for JAX on the CPU: the walk through the steps in the native core, an XLA FFI call on XLA's
threads. Maths, shapes and source: bpx/layers/gru.py.
"""

import functools

import jax

from bpx_jax.kernels.cpu import _ffi, _recurrent
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type

refuses = _recurrent.refuses


@jax.jit
def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths):
    wide = arithmetic(x.dtype)
    count, bytes = _recurrent.counts(lengths)
    (steps, batch, ins), units = x.shape, h0.shape[1]
    a, w_ih, b_ih = _recurrent.projected(x, w_ih, b_ih)
    given = (a, *(as_type(v, wide) for v in (h0, w_hh, b_hh)), w_ih, b_ih, count)
    results = ((steps, batch, units), x.dtype), ((steps, batch, 4 * units), x.dtype)
    sizes = (steps, batch, units, bytes, ins)
    y, gates = _ffi.call("gru_forward", x.dtype, given, results, sizes)
    return y, (y, gates)


@functools.partial(jax.jit, static_argnames="needs")
def backward(dy, arrays, residuals, needs):
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    y, gates = residuals
    wide = arithmetic(x.dtype)
    count, bytes = _recurrent.counts(lengths)
    steps, batch, units = y.shape
    w, dx = _recurrent.unprojected(x, w_ih, needs[0])
    given = (as_type(dy, x.dtype), y, gates, as_type(h0, wide), as_type(w_hh, wide), w, count)
    # one array for both gradients, which differ in n's alone, over the gates
    results = (gates.shape, wide), None, (h0.shape, wide), dx
    sizes, over = (steps, batch, units, bytes, x.shape[-1]), {2: 0} if wide == x.dtype else {}
    d, _, dh0, dx = _ffi.call("gru_backward", x.dtype, given, results, sizes, aliases=over)
    needs = (needs[0], *needs[2:])
    dx, *rest = _recurrent.gradients(d, dx, x, h0, y, w_ih, lengths, needs, 2 * units)
    return dx, dh0, *rest, None
