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
from bpx_jax.layers._recurrent import before, cut, ended, products, projected, running


@functools.partial(jax.jit, static_argnames="nonlinearity")
def states(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, *, nonlinearity):
    runs = running(lengths, len(x))
    f = jnp.tanh if nonlinearity == "tanh" else jax.nn.relu
    a = projected(cut(at_least_float32(x), runs), w_ih, b_ih, b_hh)
    w = w_hh.astype(a.dtype).T

    def step(h, a_t):
        h = f(a_t + h @ w)
        return h, h

    y = jax.lax.scan(step, h0.astype(a.dtype), a)[1].astype(x.dtype)
    return ended(y, lengths, runs)


def forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, *, nonlinearity):
    y = states(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, nonlinearity=nonlinearity)
    return y, (y,)


@functools.partial(jax.jit, static_argnames=("needs", "nonlinearity"))
def backward(dy, arrays, residuals, needs, *, nonlinearity):
    # da_t = f'(a_t) (dy_t + da_{t+1} w_hh),  dh_0 = da_1 w_hh;  the rest from all da_t at once
    # f' = 1 - h^2 (tanh), or 1 where h > 0 (relu)
    x, h0, w_ih, w_hh, _, _, lengths = arrays
    runs = running(lengths, len(x))
    y = at_least_float32(residuals[0])
    slope = 1 - jnp.square(y) if nonlinearity == "tanh" else (y > 0).astype(y.dtype)
    w, dy = w_hh.astype(y.dtype), cut(dy.astype(y.dtype), runs)

    def step(dh, at):
        dy_t, slope_t = at
        da = (dy_t + dh) * slope_t
        return da @ w, da

    dh, da = jax.lax.scan(step, jnp.zeros_like(y[0]), (dy, slope), reverse=True)
    needs = (needs[0], *needs[2:])
    dx, *rest = products(da, da, cut(x, runs), before(h0, y), w_ih, needs)
    return dx, dh, *rest, None


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.rnn"),
        Kernel("plain", forward, backward),
    ),
)


def rnn(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, nonlinearity="tanh"):
    """All hidden states (T B H) of x (T B I) from h0 (B H); w_ih (H I), w_hh (H H), biases (H).
    Past its own end, of lengths (B), a sequence gives 0. Maths: bpx/layers/rnn.py."""
    return RULE(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, nonlinearity=nonlinearity)
