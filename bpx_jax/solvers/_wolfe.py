"""The strong-Wolfe line search for JAX. Conditions, choices and sources: bpx/solvers/_wolfe.py.

A while_loop over trials. The interval is (low, high): `low` the best step so far, `high` the other
end once `bracketed`; before that `high` is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.solvers._wolfe import C1, C2, NOISE


class Trial(NamedTuple):
    t: jax.Array
    value: jax.Array
    slope: jax.Array
    grad: jax.Array
    aux: Any


class Search(NamedTuple):
    t: jax.Array  # of the next trial
    tried: jax.Array
    low: Trial
    high: Trial
    bracketed: jax.Array
    close: jax.Array
    done: jax.Array
    sane: jax.Array  # whether the last trial was finite


def finite(p: Trial) -> jax.Array:
    return jnp.isfinite(p.value) & jnp.isfinite(p.slope)


def above(p: Trial, q: Trial, noise: float) -> jax.Array:
    """p's value less q's; the mean slope times the way where the two differ by rounding alone."""
    gap = p.value - q.value
    rounding = jnp.abs(gap) <= noise * jnp.maximum(jnp.abs(p.value), jnp.abs(q.value))
    return jnp.where(rounding, (p.slope + q.slope) * ((p.t - q.t) * 0.5), gap)


def minimiser(p: Trial, q: Trial, left: jax.Array, right: jax.Array, noise: float) -> jax.Array:
    """Where the Hermite cubic of p and q has its minimum, within [left, right], or halfway.

    On the unit interval from p to q: c0 + c1 u + c2 u^2 + c3 u^3, slope zero and rising.
    """
    h = q.t - p.t
    c1, end, delta = h * p.slope, h * q.slope, above(q, p, noise)
    c3 = c1 + end - 2 * delta
    c2 = delta - c1 - c3
    under = c2 * c2 - 3 * c3 * c1
    root = jnp.sqrt(jnp.maximum(under, 0))
    # two forms of (root - c2) / (3 c3), of which one does not cancel
    u = jnp.where(c2 > 0, -c1 / (c2 + root), (root - c2) / (3 * c3))
    t = p.t + h * u
    known = (under >= 0) & finite(q) & ~jnp.isnan(t)
    return jnp.where(known, jnp.clip(t, left, right), (left + right) * 0.5)


def search(
    evaluate: Callable[[jax.Array], Trial],
    start: Trial,
    t: jax.Array,
    narrow: jax.Array,
    most: jax.Array,
) -> tuple[Trial, jax.Array, jax.Array]:
    """The trial found (t = 0: none), how many were made, and whether the last one was finite."""
    noise = float(jnp.finfo(start.value.dtype).eps) ** NOISE

    def one(s: Search) -> Search:
        p = evaluate(s.t)
        tried = s.tried + 1
        first_phase = ~s.bracketed
        too_high = ~finite(p) | (above(p, start, noise) > C1 * p.t * start.slope)
        compared = s.bracketed | (tried > 1)
        too_high |= compared & (above(p, s.low, noise) >= 0)
        accepted = ~too_high & (jnp.abs(p.slope) <= -C2 * start.slope)
        onward = first_phase & ~too_high & ~accepted & (p.slope < 0)
        # the other end: p itself, or what was low when the slope at p leads there
        turned = first_phase | (p.slope * (s.high.t - s.low.t) >= 0)
        high = _pick(too_high, p, _pick(turned, s.low, s.high))
        low = _pick(too_high, s.low, p)
        a, b = jnp.minimum(low.t, high.t), jnp.maximum(low.t, high.t)
        inside = minimiser(low, high, a, b, noise)
        tenth = (b - a) / 10
        crowded = jnp.minimum(b - inside, inside - a) < tenth
        moved = crowded & (s.close | (inside <= a) | (inside >= b))
        nearer = jnp.where(b - inside < inside - a, b - tenth, a + tenth)
        inside = jnp.where(moved, nearer, inside)
        further = minimiser(s.low, p, p.t + 0.01 * (p.t - s.low.t), 10 * p.t, noise)
        exhausted = (tried >= most) | (~onward & ((b - a < narrow) | (inside <= a) | (inside >= b)))
        return Search(
            jnp.where(onward, further, inside),
            tried,
            low,
            high,
            ~onward,
            ~onward & crowded & ~moved,
            accepted | exhausted,
            finite(p),
        )

    no = jnp.zeros((), bool)
    begin = Search(t, jnp.zeros((), jnp.int32), start, start, no, no, no, ~no)
    end = jax.lax.while_loop(lambda s: ~s.done, one, begin)
    return end.low, end.tried, end.sane


def _pick(which: jax.Array, p: Any, q: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), p, q)
