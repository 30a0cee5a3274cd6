"""jax.nn's attention over the rule of bpx, re-exported by bpx_jax.nn.

No (T, S) array is made, in forward or backward. A query that sees no key gives 0 with a zero
gradient, where jax.nn gives the mean of all values. What the rule has beyond jax.nn follows its
arguments: softcap, and dropout from a key. The values may have another width than queries and keys.
"""

import jax.numpy as jnp

from bpx.profiles import profiled
from bpx.spec import require
from bpx_jax import random
from bpx_jax.layers import attention as _attention

NAME = "dot_product_attention"


@profiled("attention", beyond=("heads_axis",))
def dot_product_attention(
    query,
    key,
    value,
    bias=None,
    mask=None,
    *,
    scale=None,
    is_causal=False,
    query_seq_lengths=None,
    key_value_seq_lengths=None,
    local_window_size=None,
    implementation=None,
    return_residual=False,
    softcap=None,
    dropout_rate=0.0,
    dropout_key=None,
    heads_axis=-2,
):
    """query (B T N H), key and value (B S K H), or all without B; bias and mask (B N T S), each
    dim of its size or 1; lengths (B). softcap c makes c tanh(z / c) of the scaled products; dropout
    draws from dropout_key. heads_axis: -3 where the arrays are (B N T H) as in torch. Maths:
    bpx/layers/attention.py."""
    require(
        not return_residual,
        f"{NAME}: return_residual is True, expected False: log-sum-exp has no gradient here",
    )
    require(
        implementation in (None, "xla"),
        f"{NAME}: implementation is {implementation!r}, expected None or 'xla': the rule is one",
    )
    require(heads_axis in (-3, -2), f"{NAME}: heads_axis is {heads_axis}, expected -3 or -2")
    arrays = [jnp.asarray(a) for a in (query, key, value)]
    dims = arrays[0].ndim
    require(
        dims in (3, 4) and all(a.ndim == dims for a in arrays),
        f"{NAME}: query, key and value have {[a.ndim for a in arrays]} dims, expected 4 each, or 3",
    )
    four = [_four(a) for a in arrays]
    q, k, v = four if heads_axis == -3 else (jnp.swapaxes(a, 1, 2) for a in four)
    b, t, s = q.shape[0], q.shape[2], k.shape[2]
    bias, mask = (None if a is None else _four(jnp.asarray(a)) for a in (bias, mask))
    if key_value_seq_lengths is not None:
        there = _within("key_value_seq_lengths", key_value_seq_lengths, b, s)[:, None, None, :]
        if mask is None:
            mask = there
        elif bias is None:  # a mask for each sequence and all queries would be T by S
            bias = jnp.where(there, 0.0, -jnp.inf).astype(q.dtype)
        else:
            mask = mask & there
    window = local_window_size
    y = _attention.attention(
        q,
        k,
        v,
        bias,
        mask,
        None if dropout_key is None else random.key_data(dropout_key),
        causal=is_causal,
        window=(window, window) if isinstance(window, int) else window,
        scale=scale,
        softcap=softcap,
        dropout_p=dropout_rate,
    )
    if query_seq_lengths is not None:  # a query that is cut off here passes on no gradient either
        there = _within("query_seq_lengths", query_seq_lengths, b, t)[:, None, :, None]
        y = jnp.where(there, y, jnp.zeros((), y.dtype))
    y = y if heads_axis == -3 else jnp.swapaxes(y, 1, 2)
    return y if dims == 4 else y[0]


def _four(a):
    return a.reshape(*(1,) * (4 - a.ndim), *a.shape)


def _within(name, lengths, b, n):
    """(B, n) booleans: True before the end of the sequence."""
    lengths = jnp.asarray(lengths)
    require(
        lengths.shape == (b,) and jnp.issubdtype(lengths.dtype, jnp.integer),
        f"{NAME}: {name} is {lengths.dtype} of shape {lengths.shape}, expected integers of ({b},)",
    )
    return jnp.arange(n, dtype=lengths.dtype)[None] < lengths[:, None]
