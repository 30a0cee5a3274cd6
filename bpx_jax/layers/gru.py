"""gru for JAX. Maths, shapes and source: bpx/layers/gru.py.

Compiled also where the caller does not: an eager scan is compiled again at every call.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.layers.gru import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._recurrent import before, cut, ended, products, projected, running


@jax.jit
def states_and_gates(x, h0, w_ih, w_hh, b_ih, b_hh, lengths):
    runs = running(lengths, len(x))
    a = projected(cut(at_least_float32(x), runs), w_ih, b_ih)
    w = w_hh.astype(a.dtype).T
    b = None if b_hh is None else b_hh.astype(a.dtype).reshape(1, -1)
    units = h0.shape[1]

    def step(h, a_t):
        u = h @ w if b is None else h @ w + b
        rz = jax.nn.sigmoid(a_t[:, : 2 * units] + u[:, : 2 * units])
        u_n = u[:, 2 * units :]
        n = jnp.tanh(a_t[:, 2 * units :] + rz[:, :units] * u_n)
        h = n + rz[:, units:] * (h - n)
        return h, (h.astype(x.dtype), jnp.concatenate([rz, n, u_n], 1).astype(x.dtype))

    y, gates = jax.lax.scan(step, h0.astype(a.dtype), a)[1]
    return ended(y, lengths, runs), cut(gates, runs)


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths):
    y, gates = states_and_gates(x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    return y, (y, gates)


@functools.partial(jax.jit, static_argnames="needs")
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
    r, z, n, u_n = jnp.split(at_least_float32(residuals[1]), 4, -1)
    h_before = before(h0, y)
    k_n = (1 - z) * (1 - jnp.square(n))
    k_z = (h_before - n) * z * (1 - z)
    k_r = k_n * u_n * r * (1 - r)
    w = w_hh.astype(y.dtype)

    def step(dh, at):
        dy_t, z_t, *k_t = at
        g = dy_t + dh
        du = jnp.concatenate([k * g for k in k_t], 1)
        return g * z_t + du @ w, (g, du)

    at = (cut(dy.astype(y.dtype), runs), z, k_r, k_z, k_n * r)
    dh, (g, du) = jax.lax.scan(step, jnp.zeros_like(y[0]), at, reverse=True)
    da = jnp.concatenate([du[..., : 2 * g.shape[-1]], k_n * g], -1)
    needs = (needs[0], *needs[2:])
    dx, *rest = products(da, du, cut(x, runs), h_before, w_ih, needs)
    return dx, dh, *rest, None


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.gru"),
        Kernel("plain", forward, backward),
    ),
)


def gru(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    """All hidden states (T B H) of x (T B I) from h0 (B H); w_ih (3H I), w_hh (3H H), biases (3H),
    the gates in the order r, z, n.
    Past its own end, of lengths (B), a sequence gives 0. Maths: bpx/layers/gru.py."""
    return RULE(x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
