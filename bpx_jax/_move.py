"""An optimizer's step of one array by the native core: parameter and states in one pass."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi

LEAST = 1 << 14  # elements; below, a call costs more than XLA's loop
RATES = 9
DECAYS, OTHER = 1, 2  # bits of a variant: bpx/native/move_body.h


class Call(NamedTuple):
    """One of the rules in bpx/native/move_body.h, its rates in order, and which variant of it."""

    rule: str
    rates: tuple[Any, ...]
    variant: int


def takes(p: Any, *others: Any) -> bool:
    """Whether the core steps these arrays: all of one shape and dtype, float32 or float64."""
    alike = all(a.shape == p.shape and a.dtype == p.dtype for a in others)
    wide = p.dtype in (jnp.float32, jnp.float64)
    return bool(alike and wide and p.size >= LEAST and _ffi.refuses((p,)) is None)


def leaf(native: Any, p: Any, g: Any, states: list[Any], given: list[Any]) -> Any:
    """(p, states...) after the step of a leaf by the core; None where it does not take the arrays,
    or `native` of the rule's arguments has no call. A state that is None stays so."""
    there = tuple(jnp.asarray(a) for a in states if a is not None)
    p = jnp.asarray(p)
    if not takes(p, g, *there) or (call := native(p.dtype, g, *given)) is None:
        return None
    p, *after = moved(call, p, g, there)
    left = iter(after)
    return p, *(None if a is None else next(left) for a in states)


def moved(call: Call, p: Any, g: Any, held: tuple[Any, ...]) -> tuple[Any, ...]:
    """(p, *held) after the step; arrays that are donated are written in place."""
    rates = (*call.rates, *[0.0] * (RATES - len(call.rates)))
    packed = jnp.stack([jnp.asarray(r, p.dtype) for r in rates])
    return tuple(_moved(call.rule, call.variant, p, g, held, packed))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _moved(rule: str, variant: int, p: Any, g: Any, held: tuple[Any, ...], rates: Any) -> Any:
    n = len(held)
    made = [(p.shape, p.dtype)] * (1 + n) + [None] * (2 - n)
    arrays = (g, p, *held, *[None] * (2 - n), rates)
    aliases = {i + 1: i for i in range(1 + n)}
    sizes = (p.size, variant)
    return _ffi.call(f"move_{rule}", p.dtype, arrays, made, sizes, aliases=aliases)[: 1 + n]


@_moved.defjvp
def _tangent(rule: str, variant: int, primals: Any, tangents: Any) -> Any:
    """Of the same formulas in JAX's own operations."""
    plain = partial(PLAIN[rule], variant)
    return _moved(rule, variant, *primals), jax.jvp(plain, primals, tangents)[1]


def _stepped(variant: int, p: Any, step: Any, decay: Any) -> Any:
    return p - (step + decay * p if variant & DECAYS else step)


def _adam(variant: int, p: Any, g: Any, held: Any, r: Any) -> Any:
    m, v = r[0] * held[0] + r[1] * g, r[2] * held[1] + r[3] * g * g
    along = r[4] * m + r[8] * g if variant & OTHER else r[4] * m
    return _stepped(variant, p, along / (jnp.sqrt(v + r[6]) + r[5]), r[7]), m, v


def _squares(variant: int, p: Any, g: Any, held: Any, r: Any) -> Any:
    m = r[0] * held[0] + r[1] * g * g
    step = r[2] * g / (jnp.sqrt(m + r[4]) + r[3])
    return p - (jnp.where(m > 0, step, 0.0) if variant & OTHER else step), m


def _signs(variant: int, p: Any, g: Any, held: Any, r: Any) -> Any:
    sign = jnp.sign(r[0] * held[0] + r[1] * g)
    return _stepped(variant, p, r[4] * sign, r[5]), r[2] * held[0] + r[3] * g


def _maxima(variant: int, p: Any, g: Any, held: Any, r: Any) -> Any:
    m, v = r[0] * held[0] + r[1] * g, jnp.maximum(r[2] * held[1], jnp.abs(g) + r[4])
    return _stepped(variant, p, r[3] * m / (v + r[5]), r[6]), m, v


def _deltas(variant: int, p: Any, g: Any, held: Any, r: Any) -> Any:
    slope = g + r[4] * p if variant & DECAYS else g
    m = r[0] * held[0] + r[1] * slope * slope
    d = jnp.sqrt((held[1] + r[2]) / (m + r[2])) * slope
    return p - r[3] * d, m, r[0] * held[1] + r[1] * d * d


def _velocity(variant: int, p: Any, g: Any, held: Any, r: Any) -> Any:
    push = r[1] * (g + r[3] * p if variant & DECAYS else g)
    m = r[0] * held[0] + push
    return p + r[2] * (push + r[0] * m if variant & OTHER else m), m


PLAIN = {
    "adam": _adam,
    "squares": _squares,
    "signs": _signs,
    "maxima": _maxima,
    "deltas": _deltas,
    "velocity": _velocity,
}
