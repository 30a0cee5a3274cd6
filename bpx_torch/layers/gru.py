"""gru for PyTorch. Maths, shapes and source: bpx/layers/gru.py."""

import torch

from bpx.layers.gru import SPEC
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


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths):
    runs = running(lengths, len(x))
    a = projected(cut(at_least_float32(x), runs), w_ih, b_ih)
    h, w = h0.to(a.dtype), w_hh.to(a.dtype).T
    b = None if b_hh is None else b_hh.to(a.dtype)
    units = h.shape[1]
    states, gates = [], []
    for a_t in a.unbind(0):
        u = h @ w if b is None else torch.addmm(b, h, w)
        rz = torch.sigmoid(a_t[:, : 2 * units] + u[:, : 2 * units])
        u_n = u[:, 2 * units :]
        n = torch.tanh(a_t[:, 2 * units :] + rz[:, :units] * u_n)
        h = n + rz[:, units:] * (h - n)
        states.append(h)
        gates.append(torch.cat([rz, n, u_n], 1))
    y = ended(torch.stack(states), lengths, runs).to(states_dtype(x, h0))
    return y, (y, cut(torch.stack(gates), runs).to(x.dtype))


def backward(dy, arrays, residuals, needs):
    # With g_t = dy_t + dh_t, the gradients before the activations are multiples of it:
    #   n:  k_n = (1 - z)(1 - n^2)      h w_hn^T + b_hn:  k_n r
    #   z:  k_z = (h_{t-1} - n) z (1 - z)
    #   r:  k_r = k_n u_n r (1 - r)
    #   dh_{t-1} = g_t z + [k_r g_t, k_z g_t, k_n r g_t] w_hh
    # the rest from all steps at once
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    runs = running(lengths, len(x))
    y = at_least_float32(residuals[0])
    r, z, n, u_n = at_least_float32(residuals[1]).chunk(4, -1)
    h_before = before(h0, y)
    k_n = (1 - z) * (1 - n.square())
    k_z = (h_before - n) * z * (1 - z)
    k_r = k_n * u_n * r * (1 - r)
    k = torch.stack([k_r, k_z, k_n * r], 2)
    w, dh = w_hh.to(y.dtype), torch.zeros_like(y[0])
    g = []
    for dy_t, z_t, k_t in backwards(cut(dy.to(y.dtype), runs), z, k):
        g.append(dy_t + dh)
        dh = torch.addmm(g[-1] * z_t, (k_t * g[-1].unsqueeze(1)).flatten(1), w)
    g = stacked(g)
    du = (k * g.unsqueeze(2)).flatten(2)
    da = torch.cat([du[..., : 2 * g.shape[-1]], k_n * g], -1)
    needs = (needs[0], *needs[2:])
    dx, *rest = products(da, du, cut(x, runs), h_before, w_ih, needs)
    return dx, dh, *rest, None


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.gru"),
        Kernel("plain", forward, backward),
    ),
    autocast={"": "lower", "cpu": "lower but h0"},
)


def gru(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    """All hidden states (T B H) of x (T B I) from h0 (B H); w_ih (3H I), w_hh (3H H), biases (3H),
    the gates in the order r, z, n.
    Past its own end, of lengths (B), a sequence gives 0. Maths: bpx/layers/gru.py."""
    return RULE(x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
