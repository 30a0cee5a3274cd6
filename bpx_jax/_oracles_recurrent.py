"""JAX's usual formulation of the recurrent layers, a scan over one step, for
bpx_jax/oracles.py."""

import jax
import jax.numpy as jnp


def _affine(v, w, b):
    a = v @ w.T
    return a if b is None else a + b.reshape(1, -1)


def _scan(step, state, x, lengths):
    """The states of every step, each a zero from the end of its sequence on."""

    def counted(carry, x_t):
        t, old = carry
        new = step(old, x_t)
        if lengths is None:
            return (t + 1, new), new
        runs = (t < lengths).reshape(-1, 1)
        kept = tuple(jnp.where(runs, n, o) for n, o in zip(new, old, strict=True))
        return (t + 1, kept), tuple(jnp.where(runs, n, 0) for n in new)

    return jax.lax.scan(counted, (0, state), x)[1]


def _rnn(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, nonlinearity="tanh"):
    f = {"tanh": jnp.tanh, "relu": jax.nn.relu}[nonlinearity]

    def step(h, x_t):
        return (f(_affine(x_t, w_ih, b_ih) + _affine(h[0], w_hh, b_hh)),)

    return _scan(step, (h0,), x, lengths)[0]


def _gru(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    def step(state, x_t):
        (h,) = state
        a_r, a_z, a_n = jnp.split(_affine(x_t, w_ih, b_ih), 3, 1)
        u_r, u_z, u_n = jnp.split(_affine(h, w_hh, b_hh), 3, 1)
        r, z = jax.nn.sigmoid(a_r + u_r), jax.nn.sigmoid(a_z + u_z)
        return ((1 - z) * jnp.tanh(a_n + r * u_n) + z * h,)

    return _scan(step, (h0,), x, lengths)[0]


def _lstm(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    def step(state, x_t):
        h, c = state
        i, f, g, o = jnp.split(_affine(x_t, w_ih, b_ih) + _affine(h, w_hh, b_hh), 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    return jnp.stack(_scan(step, (h0, c0), x, lengths))


ORACLES = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}
DIFFERS: dict[str, dict[str, str]] = {}
