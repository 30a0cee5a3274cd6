"""attention for JAX. Maths, shapes and source: bpx/layers/attention.py.

Forward and backward go over blocks of queries and keys and never hold a (T, S) matrix; blocks that
causal or window hide wholly are left out. Sums are in float32 or float64.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.layers.attention import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32, finite
from bpx_jax._rule import Rule
from bpx_jax.layers._attention import Blocks

BLOCK = (128, 256)  # queries, keys

put = jax.lax.dynamic_update_slice_in_dim


def forward(query, key, value, bias, mask, dropout_key, *, size=BLOCK, **options):
    c = Blocks(query, key, mask, dropout_key, size, options)
    q_all, k_all, v_all = c.rows(query), c.columns(key), c.columns(value)
    matrix, dtype = c.matrix(bias), at_least_float32(query[:0]).dtype
    column = (*q_all.shape[:4], 1)

    def step(carry, i0, j0):
        m, total, y = (c.at_row(a, i0) for a in carry)
        k, v = c.at_column(k_all, j0), c.at_column(v_all, j0)
        s, _ = c.scores(c.at_row(q_all, i0) * c.scale, k, matrix, i0, j0)
        highest = jax.lax.stop_gradient(s.max(4, keepdims=True))  # a constant: y is without it
        highest = jnp.maximum(m, highest)
        e, shrink = jnp.exp(s - finite(highest)), jnp.exp(m - finite(highest))
        drop = c.drop(i0, j0, dtype)
        total = total * shrink + e.sum(4, keepdims=True)
        y = y * shrink + jnp.einsum("bkgij,bkje->bkgie", e if drop is None else e * drop, v)
        return tuple(put(a, b, i0, 3) for a, b in zip(carry, (highest, total, y), strict=True))

    zeros = jnp.zeros((*column[:4], value.shape[3]), dtype)
    m, total, y = c.scan(step, (jnp.full(column, -jnp.inf, dtype), jnp.zeros(column, dtype), zeros))
    some = jnp.where(total == 0, 1.0, total)
    y = c.unpadded((y / some).astype(query.dtype))
    return y, (y, c.unpadded(finite(m))[..., 0], c.unpadded(jnp.log(some))[..., 0])


def backward(dy, arrays, residuals, needs, *, size=BLOCK, **options):
    query, key, value, bias, mask, dropout_key = arrays
    y, top, mass = residuals
    c = Blocks(query, key, mask, dropout_key, size, options)
    q_all, k_all, v_all = c.rows(query), c.columns(key), c.columns(value)
    dy_all, top_all, mass_all = c.rows(dy), c.rows(top[..., None]), c.rows(mass[..., None])
    matrix, dtype = c.matrix(bias), top_all.dtype
    # sum over j of dp_j p_j = <dy, y>, as y is rounded; from a whole row without that
    whole = c.keys <= size[1]
    delta_all = (at_least_float32(dy_all) * at_least_float32(c.rows(y))).sum(4, keepdims=True)

    def step(carry, i0, j0):
        dq, dk, dv, dbias = carry
        q, g, delta = (c.at_row(a, i0) for a in (q_all, dy_all, delta_all))
        largest, rest = (c.at_row(a, i0) for a in (top_all, mass_all))
        q = q * c.scale
        k, v = c.at_column(k_all, j0), c.at_column(v_all, j0)
        s, t = c.scores(q, k, matrix, i0, j0)
        p, drop = jnp.exp(s - largest - rest), c.drop(i0, j0, dtype)
        dp = jnp.einsum("bkgie,bkje->bkgij", g, v)
        # dvalue = (p drop)^T dy
        dv = added(dv, jnp.einsum("bkgij,bkgie->bkje", p if drop is None else p * drop, g), j0)
        dp = dp if drop is None else dp * drop
        if whole:
            delta = (p * dp).sum(4, keepdims=True)
        ds = p * (dp - delta)  # of the softmax
        if bias is not None:  # dbias = ds, summed over what bias was broadcast to
            over = tuple(d for d in range(5) if dbias.shape[d] == 1)
            start, _ = c.corner(dbias, i0, j0)
            block = c.cut(dbias, i0, j0) + ds.sum(over, keepdims=True)
            dbias = jax.lax.dynamic_update_slice(dbias, block, start)
        dz = ds if t is None else ds * (1 - t * t)  # of the softcap
        dq = put(dq, c.at_row(dq, i0) + jnp.einsum("bkgij,bkjd->bkgid", dz, k), i0, 3)
        dk = added(dk, jnp.einsum("bkgij,bkgid->bkjd", dz, q), j0)  # dkey = scale dz^T query
        return dq, dk, dv, dbias

    def added(total, part, j0):
        return put(total, c.at_column(total, j0) + part, j0, 2)

    zeros = [
        None if a is None else jnp.zeros(a.shape, dtype) for a in (q_all, k_all, v_all, matrix)
    ]
    dq, dk, dv, dbias = c.scan(step, tuple(zeros))
    if bias is not None:
        dbias = dbias[:, :, :, : bias.shape[2], : bias.shape[3]].reshape(bias.shape)
    # dquery = scale dz key
    return c.unpadded(dq) * c.scale, dk[:, :, : c.keys], dv[:, :, : c.keys], dbias, None, None


def plain(size=BLOCK):
    """The kernel with blocks of this many (queries, keys)."""
    return Kernel(
        "plain", functools.partial(forward, size=size), functools.partial(backward, size=size)
    )


RULE = Rule(SPEC, (Kernel.lazy("cpu", "bpx_jax.kernels.cpu.attention"), plain()))


def attention(
    query,
    key,
    value,
    bias=None,
    mask=None,
    dropout_key=None,
    *,
    causal=False,
    window=None,
    scale=None,
    softcap=None,
    dropout_p=0.0,
):
    """softmax(scale query key^T + bias) value: query (B, H, T, D), key (B, K, S, D), value
    (B, K, S, E), H a multiple of K; bias and mask (booleans, True takes part) broadcast to
    (B, H, T, S); dropout_key the two uint32 words of a key. Maths: bpx/layers/attention.py."""
    options = {"causal": causal, "window": window, "scale": scale}
    options |= {"softcap": softcap, "dropout_p": dropout_p}
    return RULE(query, key, value, bias, mask, dropout_key, **options)
