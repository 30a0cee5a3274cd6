"""gru for torch on the CPU: the walk through the steps in the native core, on torch's own threads.
Maths, shapes and source: bpx/layers/gru.py.
"""

from bpx_torch.kernels.cpu import _call, _recurrent
from bpx_torch.kernels.cpu._call import arithmetic, readable

refuses = _recurrent.refuses


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths):
    dtype, wide = x.dtype, arithmetic(x.dtype)
    h0 = readable(h0, wide)
    if _recurrent.alone(x, lengths):
        a, w, bias = _recurrent.added(x[0], w_ih, b_ih), None, None
        u = _recurrent.added(h0, w_hh, b_hh)
    else:
        a, u = _recurrent.projected(x, w_ih, b_ih), None
        w, bias = readable(w_hh, wide), readable(b_hh, wide)
    (steps, batch, _), units = x.shape, h0.shape[1]
    y = x.new_empty((steps, batch, units))
    gates = x.new_empty((steps, batch, 4 * units))
    given = (a, h0, w, bias, None, u, _recurrent.counts(lengths), y, gates)
    _call.run("gru_forward", dtype, given, (steps, batch, units, 8, 0))
    return y, (y, gates)


def backward(dy, arrays, residuals, needs):
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    dtype, wide = x.dtype, arithmetic(x.dtype)
    y, gates = (readable(r, dtype) for r in residuals)
    dy, start = readable(dy, dtype), readable(h0, wide)
    steps, batch, units = y.shape
    sizes, dh0 = (steps, batch, units, 8, 0), start.new_empty(start.shape)
    if _recurrent.alone(x, lengths):
        da, du = (y.new_empty((batch, 3 * units), dtype=wide) for _ in range(2))
        given = (dy, y, gates, start, None, None, None, da, du, dh0, None)
        _call.run("gru_backward", dtype, given, sizes)
        return *_recurrent.of_step(da, du, x, h0, w_ih, w_hh, needs, dh0), None
    w, count = readable(w_hh, wide), _recurrent.counts(lengths)
    da = y.new_empty((steps, batch, 3 * units), dtype=wide)
    du = da.new_empty(da.shape)
    given = (dy, y, gates, start, w, None, count, da, du, dh0, None)
    _call.run("gru_backward", dtype, given, sizes)
    needs = (needs[0], *needs[2:])
    dx, *rest = _recurrent.gradients(da, du, x, h0, y, w_ih, lengths, needs)
    return dx, dh0, *rest, None
