"""lstm for torch on the CPU: the walk through the steps in the native core, on torch's own threads.
Maths, shapes and source: bpx/layers/lstm.py.
"""

from bpx_torch.kernels.cpu import _call, _recurrent
from bpx_torch.kernels.cpu._call import arithmetic, readable

refuses = _recurrent.refuses


def forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths):
    dtype, wide = x.dtype, arithmetic(x.dtype)
    h0, c0 = readable(h0, wide), readable(c0, wide)
    if _recurrent.alone(x, lengths):
        a, w = _recurrent.added(x[0], w_ih, b_ih), None
        u = _recurrent.added(h0, w_hh, b_hh)
    else:
        a, w, u = _recurrent.projected(x, w_ih, b_ih, b_hh), readable(w_hh, wide), None
    (steps, batch, _), units = x.shape, h0.shape[1]
    y = x.new_empty((2, steps, batch, units))
    gates = x.new_empty((steps, batch, 4 * units))
    given = (a, h0, c0, w, None, u, _recurrent.counts(lengths), y, gates)
    _call.run("lstm_forward", dtype, given, (steps, batch, units, 8, 0))
    return y, (y, gates)


def backward(dy, arrays, residuals, needs):
    x, h0, c0, w_ih, w_hh, _, _, lengths = arrays
    dtype, wide = x.dtype, arithmetic(x.dtype)
    y, gates = (readable(r, dtype) for r in residuals)
    dy, start, known = readable(dy, dtype), readable(c0, wide), y if y.numel() else None
    steps, batch, rows = gates.shape
    sizes, dc0 = (steps, batch, rows // 4, 8, 0), start.new_empty(start.shape)
    if _recurrent.alone(x, lengths):
        da = gates.new_empty((batch, rows), dtype=wide)
        given = (dy, known, gates, start, None, None, None, da, None, dc0, None)
        _call.run("lstm_backward", dtype, given, sizes)
        needs = (*needs[:2], *needs[3:])
        dx, dh0, *rest = _recurrent.of_step(da, da, x, h0, w_ih, w_hh, needs)
        return dx, dh0, dc0, *rest, None
    w, count = readable(w_hh, wide), _recurrent.counts(lengths)
    da, dh0 = gates.new_empty(gates.shape, dtype=wide), start.new_empty(start.shape)
    given = (dy, known, gates, start, w, None, count, da, dh0, dc0, None)
    _call.run("lstm_backward", dtype, given, sizes)
    needs = (needs[0], *needs[3:])
    dx, *rest = _recurrent.gradients(da, da, x, h0, y[0], w_ih, lengths, needs)
    return dx, dh0, dc0, *rest, None
