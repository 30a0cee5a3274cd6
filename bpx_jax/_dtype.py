"""Accumulation dtype and inverse roots shared by the JAX rules."""

import jax
import jax.numpy as jnp


def at_least_float32(x: jax.Array) -> jax.Array:
    """x itself in float32 or float64; half precision widened to float32, in which rules compute."""
    return x.astype(jnp.float32) if x.dtype in (jnp.bfloat16, jnp.float16) else x


def inverse_root(v: jax.Array) -> jax.Array:
    """1 / sqrt(v) of a variance, NaN where it overflowed: 0 would make zeros of its row with a
    zero gradient, without a word."""
    return jnp.where(jnp.isinf(v), jnp.nan, jax.lax.rsqrt(v))


def finite(m: jax.Array) -> jax.Array:
    """-inf as 0: the largest of a row, or of a part of it, that has nothing else."""
    return jnp.where(jnp.isneginf(m), 0.0, m)
