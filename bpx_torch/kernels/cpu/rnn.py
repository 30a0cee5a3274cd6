"""rnn for torch on the CPU: the walk through the steps in the native core, on torch's own threads.
Maths, shapes and source: bpx/layers/rnn.py.
"""

from bpx_torch.kernels.cpu import _call, _recurrent
from bpx_torch.kernels.cpu._call import arithmetic, readable

refuses = _recurrent.refuses


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, *, nonlinearity):
    h0 = readable(h0, arithmetic(x.dtype))
    if _recurrent.alone(x, lengths):
        a, w = _recurrent.added(x[0], w_ih, b_ih), None
        u = _recurrent.added(h0, w_hh, b_hh)
    else:
        a, w, u = _recurrent.projected(x, w_ih, b_ih, b_hh), readable(w_hh, h0.dtype), None
    y = x.new_empty((*x.shape[:2], h0.shape[1]))
    given = (a, h0, w, None, u, _recurrent.counts(lengths), y)
    _call.run("rnn_forward", x.dtype, given, (*y.shape, 8, int(nonlinearity == "relu"), 0))
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, nonlinearity):
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    dtype, wide = x.dtype, arithmetic(x.dtype)
    dy, y = readable(dy, dtype), readable(residuals[0], dtype)
    sizes = (*y.shape, 8, int(nonlinearity == "relu"), 0)
    if _recurrent.alone(x, lengths):
        da = y.new_empty(h0.shape, dtype=wide)
        _call.run("rnn_backward", dtype, (dy, y, None, None, None, da, None, None), sizes)
        return *_recurrent.of_step(da, da, x, h0, w_ih, w_hh, needs), None
    w, count = readable(w_hh, wide), _recurrent.counts(lengths)
    da, dh0 = y.new_empty(y.shape, dtype=wide), y.new_empty(h0.shape, dtype=wide)
    _call.run("rnn_backward", dtype, (dy, y, w, None, count, da, dh0, None), sizes)
    needs = (needs[0], *needs[2:])
    dx, *rest = _recurrent.gradients(da, da, x, h0, y, w_ih, lengths, needs)
    return dx, dh0, *rest, None
