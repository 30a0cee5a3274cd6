"""lstm for JAX. Maths, shapes and source: bpx/layers/lstm.py.

Compiled also where the caller does not: an eager scan is compiled again at every call.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.layers.lstm import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._recurrent import before, cut, ended, products, projected, running


@jax.jit
def states_and_gates(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths):
    runs = running(lengths, len(x))
    a = projected(cut(at_least_float32(x), runs), w_ih, b_ih, b_hh)
    w = w_hh.astype(a.dtype).T
    units = h0.shape[1]

    def step(state, a_t):
        h, c = state
        i_f, a_g, a_o = jnp.split(a_t + h @ w, (2 * units, 3 * units), 1)
        i_f, g, o = jax.nn.sigmoid(i_f), jnp.tanh(a_g), jax.nn.sigmoid(a_o)
        c = i_f[:, units:] * c + i_f[:, :units] * g
        h = o * jnp.tanh(c)
        return (h, c), (h, c, jnp.concatenate([i_f, g, o], 1).astype(x.dtype))

    h, c, gates = jax.lax.scan(step, (h0.astype(a.dtype), c0.astype(a.dtype)), a)[1]
    return jnp.stack([ended(s, lengths, runs) for s in (h, c)]).astype(x.dtype), cut(gates, runs)


def forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths):
    y, gates = states_and_gates(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths)
    return y, (y, gates)


@functools.partial(jax.jit, static_argnames="needs")
def backward(dy, arrays, residuals, needs):
    # With p_t the gradient of h_t, q_t that of c_t, dy = (dp, dq) and s = tanh(c_t):
    #   q_t = dq_t + q_{t+1} f_{t+1} + p_t o (1 - s^2)
    #   da_t = [q_t g i (1 - i), q_t c_{t-1} f (1 - f), q_t i (1 - g^2), p_t s o (1 - o)]
    #   p_t = dp_t + da_{t+1} w_hh
    # the rest from all steps at once
    x, h0, c0, w_ih, w_hh, _, _, lengths = arrays
    runs = running(lengths, len(x))
    h, c = at_least_float32(residuals[0])
    i, f, g, o = jnp.split(at_least_float32(residuals[1]), 4, -1)
    s = jnp.tanh(c)
    through = o * (1 - jnp.square(s))
    k_q = (g * i * (1 - i), before(c0, c) * f * (1 - f), i * (1 - jnp.square(g)))
    k_p = s * o * (1 - o)
    w = w_hh.astype(h.dtype)

    def step(state, at):
        (dh, dc), (dp, dq, through_t, k_q_t, k_p_t, f_t) = state, at
        p = dp + dh
        q = dq + dc + p * through_t
        da = jnp.concatenate([*(q * k for k in k_q_t), p * k_p_t], 1)
        return (da @ w, q * f_t), da

    at = (*(cut(d, runs) for d in dy.astype(h.dtype)), through, k_q, k_p, f)
    last = (jnp.zeros_like(h[0]), jnp.zeros_like(c[0]))
    (dh, dc), da = jax.lax.scan(step, last, at, reverse=True)
    needs = (needs[0], *needs[3:])
    dx, *rest = products(da, da, cut(x, runs), before(h0, h), w_ih, needs)
    return dx, dh, dc, *rest, None


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.lstm"),
        Kernel("plain", forward, backward),
    ),
)


def lstm(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    """All hidden states and cell states (2 T B H) of x (T B I) from h0 and c0 (B H); w_ih (4H I),
    w_hh (4H H), biases (4H), the gates in the order i, f, g, o.
    Past its own end, of lengths (B), a sequence gives 0. Maths: bpx/layers/lstm.py."""
    return RULE(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths)
