"""What the recurrent rules share: everything that is one product over all steps at once."""

import jax
import jax.numpy as jnp


def projected(x, w_ih, *biases):
    """x_t w_ih^T + biases of every step (T B G), in the dtype of x."""
    a = jax.lax.dot_general(x, w_ih.astype(x.dtype), (((2,), (1,)), ((), ())))
    for b in biases:
        a = a if b is None else a + b.astype(x.dtype).reshape(1, 1, -1)
    return a


def before(h0, states):
    """The state each step starts from: h0, then all states but the last."""
    return jnp.concatenate([h0.astype(states.dtype)[None], states[:-1]])


def running(lengths, steps):
    """Which steps lie before the ends of their sequences (T B 1), None without lengths. No step of
    a length that is none of 0 .. T does."""
    if lengths is None:
        return None
    length = jnp.where(_known(lengths, steps), lengths.astype(jnp.int32), 0).reshape(1, -1, 1)
    return jnp.arange(steps, dtype=jnp.int32).reshape(-1, 1, 1) < length


def cut(v, runs):
    """v (T B D), 0 past the ends: what stands there, NaN too, has no part in a product."""
    return v if runs is None else jnp.where(runs, v, 0.0)


def ended(y, lengths, runs):
    """y (T B H), 0 past the ends, NaN for a length that is none."""
    if runs is None:
        return y
    past = jnp.where(_known(lengths, len(y)), 0.0, jnp.nan).astype(y.dtype)
    return jnp.where(runs, y, past.reshape(1, -1, 1))


def _known(lengths, steps):
    return (lengths >= 0) & (lengths.astype(jnp.int32) <= steps)


def products(da_ih, da_hh, x, h_before, w_ih, needs):
    """(dx, dw_ih, dw_hh, db_ih, db_hh) from the gradients of a_t = x_t w_ih^T + b_ih and of
    h_{t-1} w_hh^T + b_hh at all steps; `needs` in the same order."""
    # dx_t = da_t w_ih,  dw_ih = sum(da_t^T x_t),  db_ih = sum(da_t),  dw_hh = sum(da_t^T h_{t-1}),
    # db_hh = sum(da_t),   the sums over steps and batch
    dx = jax.lax.dot_general(da_ih, w_ih.astype(da_ih.dtype), (((2,), (0,)), ((), ())))
    dw_ih, dw_hh = _over_steps(da_ih, x), _over_steps(da_hh, h_before)
    db_ih = da_ih.sum((0, 1)) if needs[3] else None
    db_hh = da_hh.sum((0, 1)) if needs[4] else None
    return dx, dw_ih, dw_hh, db_ih, db_hh


def _over_steps(da, v):
    return jax.lax.dot_general(da, v.astype(da.dtype), (((0, 1), (0, 1)), ((), ())))
