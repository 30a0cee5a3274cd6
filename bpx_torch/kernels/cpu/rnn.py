"""rnn for torch on the CPU: the walk through the steps in the native core, on torch's own threads.
Maths, shapes and source: bpx/layers/rnn.py.
"""

from bpx_torch.kernels.cpu import _call, _recurrent
from bpx_torch.kernels.cpu._call import arithmetic, readable

refuses = _recurrent.refuses


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, *, nonlinearity):
    a = _recurrent.projected(x, w_ih, b_ih, b_hh)
    h0, w_hh, lengths = readable(h0, a.dtype), readable(w_hh, a.dtype), _recurrent.counts(lengths)
    y = x.new_empty(a.shape)
    sizes = (*a.shape, 8, int(nonlinearity == "relu"), 0)
    _call.run("rnn_forward", x.dtype, (a, h0, w_hh, None, None, lengths, y), sizes)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, nonlinearity):
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    dtype, wide = x.dtype, arithmetic(x.dtype)
    dy, y, w = readable(dy, dtype), readable(residuals[0], dtype), readable(w_hh, wide)
    count = _recurrent.counts(lengths)
    da, dh0 = y.new_empty(y.shape, dtype=wide), y.new_empty(h0.shape, dtype=wide)
    sizes = (*y.shape, 8, int(nonlinearity == "relu"), 0)
    _call.run("rnn_backward", dtype, (dy, y, w, None, count, da, dh0, None), sizes)
    needs = (needs[0], *needs[2:])
    dx, *rest = _recurrent.gradients(da, da, x, h0, y, w_ih, lengths, needs)
    return dx, dh0, *rest, None
