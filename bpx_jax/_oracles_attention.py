"""JAX's own attention, and the textbook formula for what it has not; merged in oracles.py."""

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32


def _turned(a):
    return None if a is None else jnp.swapaxes(a, 1, 2)


def _windowed(causal, window):
    """jax.nn has no open side beside a closed one: any length is long enough."""
    left, right = window
    far = 1 << 20
    return far if left is None else left, 0 if causal else far if right is None else right


def _attention(
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
    shape = (*query.shape[:3], key.shape[2])
    wide = None if window is None else _windowed(causal, window)
    given = softcap is None and dropout_p == 0 and value.shape[3] == key.shape[3]
    if given and query.dtype != jnp.float64:  # of which jax.nn rounds the softmax to float32
        whole = (None if a is None else jnp.broadcast_to(a, shape) for a in (bias, mask))
        # jax.nn's own does not work under strict promotion
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            y = jax.nn.dot_product_attention(
                *(_turned(a) for a in (query, key, value)),
                *whole,
                scale=scale,
                is_causal=causal,
                local_window_size=wide,
            )
        return _turned(y)
    groups = shape[1] // key.shape[1]
    key, value = (jnp.repeat(a, groups, 1) for a in (key, value))
    s = query @ jnp.swapaxes(key, 2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
    s = s if softcap is None else softcap * jnp.tanh(s / softcap)
    s = s if bias is None else s + bias
    i, j = jnp.arange(shape[2]).reshape(1, 1, -1, 1), jnp.arange(shape[3]).reshape(1, 1, 1, -1)
    left, right = wide or (shape[2], 0 if causal else shape[3])
    seen = jnp.broadcast_to((j - i >= -left) & (j - i <= right), shape)
    seen = seen if mask is None else seen & mask
    none = ~seen.any(3, keepdims=True)
    p = jnp.where(none, 0.0, jax.nn.softmax(s, 3, where=seen | none))
    if dropout_p == 1:
        p = p * 0.0
    elif dropout_p:
        p = jnp.where(_kept(dropout_key, shape, dropout_p), p / (1 - dropout_p), 0.0)
    return p @ value


def _kept(dropout_key, shape, p):
    """JAX draws its own mask; with a given one it is this."""
    rows = jnp.arange(shape[0] * shape[1] * shape[2], dtype=jnp.uint32).reshape(*shape[:3], 1)
    columns = jnp.arange(shape[3], dtype=jnp.uint32).reshape(1, 1, 1, -1)
    word = threefry_2x32(dropout_key, jnp.stack(jnp.broadcast_arrays(rows, columns)))
    return (word[0] ^ word[1]) >= jnp.uint32(round(p * 2**32))


ORACLES = {"attention": _attention}

DIFFERS: dict[str, dict[str, str]] = {}
