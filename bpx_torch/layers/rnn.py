"""rnn for PyTorch. Maths, shapes and source: bpx/layers/rnn.py."""

import torch

from bpx.layers.rnn import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.layers._recurrent import (
    backwards,
    before,
    cut,
    ended,
    few_steps,
    products,
    projected,
    running,
    stacked,
)


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, *, nonlinearity):
    runs = running(lengths, len(x))
    f = torch.tanh if nonlinearity == "tanh" else torch.relu
    a = projected(cut(at_least_float32(x), runs), w_ih, b_ih, b_hh)
    h, w = h0.to(a.dtype), w_hh.to(a.dtype).T
    states = []
    for a_t in a.unbind(0):
        h = f(torch.addmm(a_t, h, w))
        states.append(h)
    y = ended(torch.stack(states), lengths, runs).to(x.dtype)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, nonlinearity):
    # da_t = f'(a_t) (dy_t + da_{t+1} w_hh),  dh_0 = da_1 w_hh;  the rest from all da_t at once
    # f' = 1 - h^2 (tanh), or 1 where h > 0 (relu)
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    runs = running(lengths, len(x))
    y = at_least_float32(residuals[0])
    slope = 1 - y.square() if nonlinearity == "tanh" else (y > 0).to(y.dtype)
    w, dh = w_hh.to(y.dtype), torch.zeros_like(y[0])
    da = []
    for dy_t, slope_t in backwards(cut(dy.to(y.dtype), runs), slope):
        da.append((dy_t + dh) * slope_t)
        dh = da[-1] @ w
    da = stacked(da)
    needs = (needs[0], *needs[2:])
    dx, *rest = products(da, da, cut(x, runs), before(h0, y), w_ih, needs)
    return dx, dh, *rest, None


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.rnn"),
        Kernel("plain", forward, backward),
    ),
    autocast="lower",
    trim={"lengths": few_steps},
)


def rnn(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, nonlinearity="tanh"):
    """All hidden states (T B H) of x (T B I) from h0 (B H); w_ih (H I), w_hh (H H), biases (H).
    Past its own end, of lengths (B), a sequence gives 0. Maths: bpx/layers/rnn.py."""
    return RULE(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, nonlinearity=nonlinearity)
