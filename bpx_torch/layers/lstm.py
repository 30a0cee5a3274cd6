"""lstm for PyTorch. Maths, shapes and source: bpx/layers/lstm.py."""

import torch

from bpx.layers.lstm import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.layers._recurrent import (
    backwards,
    before,
    cut,
    ended,
    products,
    projected,
    running,
    stacked,
    states_dtype,
)


def forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths):
    runs = running(lengths, len(x))
    a = projected(cut(at_least_float32(x), runs), w_ih, b_ih, b_hh)
    h, c, w = h0.to(a.dtype), c0.to(a.dtype), w_hh.to(a.dtype).T
    units = h.shape[1]
    states, cells, gates = [], [], []
    for a_t in a.unbind(0):
        i_f, a_g, a_o = torch.addmm(a_t, h, w).split((2 * units, units, units), 1)
        i_f, g, o = torch.sigmoid(i_f), torch.tanh(a_g), torch.sigmoid(a_o)
        c = i_f[:, units:] * c + i_f[:, :units] * g
        h = o * torch.tanh(c)
        states.append(h)
        cells.append(c)
        gates.append(torch.cat([i_f, g, o], 1))
    y = torch.stack([ended(torch.stack(s), lengths, runs) for s in (states, cells)])
    y = y.to(states_dtype(x, c0))
    return y, (y, cut(torch.stack(gates), runs).to(x.dtype))


def trim(y, *arrays):
    """Of one step, backward reads the cell state alone, which `cell_states` has from the gates."""
    return y.new_empty((2, 0, *y.shape[2:])) if y.shape[1] == 1 else y


def cell_states(c, gates, c0):
    """c (T B H), or the one of a single step that was not kept."""
    if len(c) == len(gates):
        return c
    i, f, g, _ = gates.chunk(4, -1)
    return f * c0 + i * g


def backward(dy, arrays, residuals, needs):
    return through_time(arrays, residuals, needs, dy, None)


def residuals_backward(dresiduals, arrays, residuals, needs):
    return through_time(arrays, residuals, needs, None, dresiduals[0])


def through_time(arrays, residuals, needs, dy, dgates):
    """The gradients from that of y and, for a second derivative, from that of the gates."""
    # With p_t the gradient of h_t, q_t that of c_t, dy = (dp, dq) and s = tanh(c_t):
    #   q_t = dq_t + q_{t+1} f_{t+1} + p_t o (1 - s^2)
    #   da_t = [q_t g i (1 - i), q_t c_{t-1} f (1 - f), q_t i (1 - g^2), p_t s o (1 - o)]
    #          + dgates_t [i (1 - i), f (1 - f), 1 - g^2, o (1 - o)]
    #   p_t = dp_t + da_{t+1} w_hh
    # the rest from all steps at once
    x, h0, c0, w_ih, w_hh, _, _, lengths = arrays
    runs = running(lengths, len(x))
    h, c = at_least_float32(residuals[0]).unbind(0)
    gates = at_least_float32(residuals[1])
    i, f, g, o = gates.chunk(4, -1)
    c = cell_states(c, gates, c0.to(c.dtype))
    s = torch.tanh(c)
    through = o * (1 - s.square())
    k_q = torch.cat([g * i * (1 - i), before(c0, c) * f * (1 - f), i * (1 - g.square())], -1)
    k_p = s * o * (1 - o)
    w, dh, dc = w_hh.to(h.dtype), torch.zeros_like(c[0]), torch.zeros_like(c[0])
    dy = c.new_zeros((2, *c.shape)) if dy is None else dy
    from_gates = [None] * len(x)
    if dgates is not None:
        slopes = torch.cat([i * (1 - i), f * (1 - f), 1 - g.square(), o * (1 - o)], -1)
        from_gates = list((cut(dgates.to(h.dtype), runs) * slopes).unbind(0))
    da = []
    for dp, dq, through_t, k_q_t, k_p_t, f_t in backwards(
        *(cut(d, runs) for d in dy.to(h.dtype)), through, k_q, k_p, f
    ):
        p = dp + dh
        q = dq + dc + p * through_t
        da.append(torch.cat([q.repeat(1, 3) * k_q_t, p * k_p_t], 1))
        if (more := from_gates.pop()) is not None:
            da[-1] = da[-1] + more
        dh, dc = da[-1] @ w, q * f_t
    da = stacked(da)
    needs = (needs[0], *needs[3:])
    dx, *rest = products(da, da, cut(x, runs), before(h0, h), w_ih, needs)
    return dx, dh, dc, *rest, None


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.lstm"),
        Kernel("plain", forward, backward, residuals_backward=residuals_backward),
    ),
    autocast={"": "lower", "cpu": "lower but c0"},
    trim={"y": trim},
)


def lstm(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    """All hidden states and cell states (2 T B H) of x (T B I) from h0 and c0 (B H); w_ih (4H I),
    w_hh (4H H), biases (4H), the gates in the order i, f, g, o.
    Past its own end, of lengths (B), a sequence gives 0. Maths: bpx/layers/lstm.py."""
    return RULE(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths)
