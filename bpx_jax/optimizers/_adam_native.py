"""Adam's step of one large array by the native core: parameter and moments in one pass."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi

LEAST = 1 << 16  # elements; below, a call costs more than XLA's loop


def takes(p: Any, *others: Any) -> bool:
    """Whether the core steps these arrays: all of one shape and dtype, float32 or float64."""
    alike = all(a.shape == p.shape and a.dtype == p.dtype for a in others)
    wide = p.dtype in (jnp.float32, jnp.float64)
    return bool(alike and wide and p.size >= LEAST and _ffi.refuses((p,)) is None)


@jax.custom_jvp
def move(p: Any, g: Any, m: Any, v: Any, rates: tuple[Any, ...]) -> Any:
    """(p, m, v) after a step. rates: the decay of m and its rest, that of v and its rest, then
    a, b, c, d of

        p - (a m / (sqrt(v + c) + b) + d p)

    where d may be None, for no decay."""
    dtype = p.dtype
    packed = jnp.stack([jnp.asarray(0.0 if r is None else r, dtype) for r in rates])
    sizes = (p.size, int(rates[-1] is not None))
    made = [(p.shape, dtype)] * 3
    aliases = {3: 0, 1: 1, 2: 2}  # donated arrays are written in place
    return _ffi.call("adam_move", dtype, (g, m, v, p, packed), made, sizes, aliases=aliases)


@move.defjvp
def _tangent(primals: Any, tangents: Any) -> Any:
    """Of the same formula in JAX's own operations."""
    return move(*primals), jax.jvp(_plain, primals, tangents)[1]


def _plain(p: Any, g: Any, m: Any, v: Any, rates: tuple[Any, ...]) -> Any:
    b1, rest1, b2, rest2, a, b, c, d = rates
    m, v = b1 * m + rest1 * g, b2 * v + rest2 * g * g
    u = a * m / (jnp.sqrt(v + c) + b)
    return p - (u if d is None else u + d * p), m, v
