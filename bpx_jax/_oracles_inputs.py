"""embedding, dropout with a given mask, and rotary embedding as they are usually written in
jax.numpy; merged in oracles.py."""

import math

import jax
import jax.numpy as jnp


def _embedding(indices, weight, *, padding_idx=None):
    if padding_idx is not None:
        weight = weight.at[padding_idx].set(jax.lax.stop_gradient(weight[padding_idx]))
    return jnp.take(weight, indices, axis=0)


def _embedding_bag(
    indices, weight, bags, per_sample_weights=None, *, num_bags=1, mode="mean", padding_idx=None
):
    rows = jnp.take(weight, indices, axis=0)
    rows = rows if per_sample_weights is None else rows * per_sample_weights[:, None]
    kept = jnp.ones(indices.shape, bool) if padding_idx is None else indices != padding_idx
    y = jax.ops.segment_sum(jnp.where(kept[:, None], rows, 0), bags, num_bags)
    if mode == "sum":
        return y
    return y / jnp.maximum(jax.ops.segment_sum(kept.astype(y.dtype), bags, num_bags), 1)[:, None]


def _dropout(x, bits, *, p=0.5, broadcast_dims=()):
    shared = [d % x.ndim for d in broadcast_dims]
    shape = [1 if d in shared else n for d, n in enumerate(x.shape)]
    eights = [jnp.bitwise_and(jnp.right_shift(bits, jnp.uint8(i)), jnp.uint8(1)) for i in range(8)]
    keep = jnp.stack(eights, -1).reshape(-1)[: math.prod(shape)].reshape(shape)
    return jnp.where((keep == 1) & (p < 1), x / max(1 - p, 1e-9), 0)


# x cos + rotated(x) sin, with tables as wide as x
def _rope(x, cos, sin, *, interleaved=False):
    pairs = cos.shape[1]
    turned, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    if interleaved:
        rotated = jnp.stack([-turned[..., 1::2], turned[..., ::2]], -1).reshape(turned.shape)
        cos, sin = jnp.repeat(cos, 2, -1), jnp.repeat(sin, 2, -1)
    else:
        rotated = jnp.concatenate([-turned[..., pairs:], turned[..., :pairs]], -1)
        cos, sin = jnp.tile(cos, (1, 2)), jnp.tile(sin, (1, 2))
    cos, sin = jnp.broadcast_to(cos, turned.shape), jnp.broadcast_to(sin, turned.shape)
    return jnp.concatenate([turned * cos + rotated * sin, rest], -1)


ORACLES = {
    "embedding": _embedding,
    "embedding_bag": _embedding_bag,
    "dropout": _dropout,
    "rope": _rope,
}

DIFFERS: dict[str, dict[str, str]] = {}
