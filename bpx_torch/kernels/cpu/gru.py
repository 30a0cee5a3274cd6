"""gru for torch on the CPU: the walk through the steps in the native core, on torch's own threads.
Maths, shapes and source: bpx/layers/gru.py.
"""

from bpx_torch.kernels.cpu import _call, _recurrent
from bpx_torch.kernels.cpu._call import arithmetic, readable

refuses = _recurrent.refuses


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths):
    dtype, wide = x.dtype, arithmetic(x.dtype)
    a = _recurrent.projected(x, w_ih, b_ih)
    h0, w_hh, b_hh = readable(h0, wide), readable(w_hh, wide), readable(b_hh, wide)
    lengths = _recurrent.counts(lengths)
    (steps, batch, _), units = a.shape, h0.shape[1]
    y = x.new_empty((steps, batch, units))
    gates = x.new_empty((steps, batch, 4 * units))
    given = (a, h0, w_hh, b_hh, None, None, lengths, y, gates)
    _call.run("gru_forward", dtype, given, (steps, batch, units, 8, 0))
    return y, (y, gates)


def backward(dy, arrays, residuals, needs):
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    dtype, wide = x.dtype, arithmetic(x.dtype)
    y, gates = (readable(r, dtype) for r in residuals)
    dy, start, w = readable(dy, dtype), readable(h0, wide), readable(w_hh, wide)
    count = _recurrent.counts(lengths)
    steps, batch, units = y.shape
    da = y.new_empty((steps, batch, 3 * units), dtype=wide)
    du, dh0 = da.new_empty(da.shape), start.new_empty(start.shape)
    given = (dy, y, gates, start, w, None, count, da, du, dh0, None)
    _call.run("gru_backward", dtype, given, (steps, batch, units, 8, 0))
    needs = (needs[0], *needs[2:])
    dx, *rest = _recurrent.gradients(da, du, x, h0, y, w_ih, lengths, needs)
    return dx, dh0, *rest, None
