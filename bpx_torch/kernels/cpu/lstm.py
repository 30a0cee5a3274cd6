"""lstm for torch on the CPU: the walk through the steps in the native core, on torch's own threads.
Maths, shapes and source: bpx/layers/lstm.py.
"""

from bpx_torch.kernels.cpu import _call, _recurrent
from bpx_torch.kernels.cpu._call import arithmetic, readable

refuses = _recurrent.refuses


def forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths):
    dtype, wide = x.dtype, arithmetic(x.dtype)
    a = _recurrent.projected(x, w_ih, b_ih, b_hh)
    h0, c0, w_hh = readable(h0, wide), readable(c0, wide), readable(w_hh, wide)
    lengths = _recurrent.counts(lengths)
    steps, batch, rows = a.shape
    y = x.new_empty((2, steps, batch, rows // 4))
    gates = x.new_empty(a.shape)
    given = (a, h0, c0, w_hh, None, None, lengths, y, gates)
    _call.run("lstm_forward", dtype, given, (steps, batch, rows // 4, 8, 0))
    return y, (y, gates)


def backward(dy, arrays, residuals, needs):
    x, h0, c0, w_ih, w_hh, _, _, lengths = arrays
    dtype, wide = x.dtype, arithmetic(x.dtype)
    y, gates = (readable(r, dtype) for r in residuals)
    dy, start, w = readable(dy, dtype), readable(c0, wide), readable(w_hh, wide)
    count = _recurrent.counts(lengths)
    steps, batch, rows = gates.shape
    da = gates.new_empty(gates.shape, dtype=wide)
    dh0, dc0 = (start.new_empty(start.shape) for _ in range(2))
    given = (dy, y if y.numel() else None, gates, start, w, None, count, da, dh0, dc0, None)
    _call.run("lstm_backward", dtype, given, (steps, batch, rows // 4, 8, 0))
    needs = (needs[0], *needs[3:])
    dx, *rest = _recurrent.gradients(da, da, x, h0, y[0], w_ih, lengths, needs)
    return dx, dh0, dc0, *rest, None
