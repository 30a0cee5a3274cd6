"""rnn for JAX. Maths, shapes and source: bpx/layers/rnn.py.

Compiled also where the caller does not: an eager scan is compiled again at every call.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.layers.rnn import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._recurrent import before, products, projected


@functools.partial(jax.jit, static_argnames="nonlinearity")
def states(x, h0, w_ih, w_hh, b_ih, b_hh, *, nonlinearity):
    f = jnp.tanh if nonlinearity == "tanh" else jax.nn.relu
    a = projected(at_least_float32(x), w_ih, b_ih, b_hh)
    w = w_hh.astype(a.dtype).T

    def step(h, a_t):
        h = f(a_t + h @ w)
        return h, h

    return jax.lax.scan(step, h0.astype(a.dtype), a)[1].astype(x.dtype)


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, *, nonlinearity):
    y = states(x, h0, w_ih, w_hh, b_ih, b_hh, nonlinearity=nonlinearity)
    return y, (y,)


@functools.partial(jax.jit, static_argnames=("needs", "nonlinearity"))
def backward(dy, arrays, residuals, needs, *, nonlinearity):
    # da_t = f'(a_t) (dy_t + da_{t+1} w_hh),  dh_0 = da_1 w_hh;  the rest from all da_t at once
    # f' = 1 - h^2 (tanh), or 1 where h > 0 (relu)
    x, h0, w_ih, w_hh, _, _ = arrays
    y = at_least_float32(residuals[0])
    slope = 1 - jnp.square(y) if nonlinearity == "tanh" else (y > 0).astype(y.dtype)
    w = w_hh.astype(y.dtype)

    def step(dh, at):
        dy_t, slope_t = at
        da = (dy_t + dh) * slope_t
        return da @ w, da

    dh, da = jax.lax.scan(step, jnp.zeros_like(y[0]), (dy.astype(y.dtype), slope), reverse=True)
    needs = (needs[0], *needs[2:])
    dx, *rest = products(da, da, x, before(h0, y), w_ih, needs)
    return dx, dh, *rest


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def rnn(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, *, nonlinearity="tanh"):
    """All hidden states (T B H) of x (T B I) from h0 (B H); w_ih (H I), w_hh (H H), biases (H).
    Maths: bpx/layers/rnn.py."""
    return RULE(x, h0, w_ih, w_hh, b_ih, b_hh, nonlinearity=nonlinearity)
