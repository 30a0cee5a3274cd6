"""What the incoming gradient is multiplied by, denominators, ignored and repeated indices."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from bpx.verify import Float, Index
from bpx.verify.zoo import Plant
from bpx_jax.zoo._rule import function

IGNORE = -9


def none(x, t):
    rows = -jnp.take_along_axis(jax.nn.log_softmax(x), jnp.maximum(t, 0)[:, None], 1)[:, 0]
    return jnp.where(t != IGNORE, rows, 0)


def mean(x, t):
    return none(x, t).sum() / jnp.maximum((t != IGNORE).sum(), 1).astype(x.dtype)


def _rows(x, t):
    hot = jax.nn.one_hot(jnp.maximum(t, 0), x.shape[1], dtype=x.dtype)
    return jax.nn.softmax(x) - hot


def _mean_backward(count):
    def backward(g, x, t):
        keep = (t != IGNORE)[:, None]
        return g * jnp.where(keep, _rows(x, t), 0) / count(t).astype(x.dtype), None

    return backward


def none_right(g, x, t):
    return g[:, None] * jnp.where((t != IGNORE)[:, None], _rows(x, t), 0), None


def _first_zeroed(g, x, t):
    return none_right(g, x, t)[0] * (t[0] != IGNORE), None


def taken(t, w):
    return w[t]


def taken_right(g, t, w):
    return None, jnp.zeros(w.shape, jnp.promote_types(jnp.float32, w.dtype)).at[t].add(
        g.astype(jnp.promote_types(jnp.float32, w.dtype))
    ).astype(w.dtype)


CLASSES = [Float("N", "V"), Index("N", below="V", ignore=IGNORE)]
SHORT = {"sizes": {"V": (5, 4, 6)}}
PLANTS = (
    Plant(22, "all rows multiplied by the first incoming gradient", ("vjp", "cotangent"),
          function(none, none_right),
          function(none, lambda g, x, t: none_right(jnp.full_like(g, g[0]), x, t)), CLASSES, none,
          {"sizes": {"V": (5, 4), "N": (3, 2, 8)}}),
    Plant(23, "upstream zeroed by an ignored first row", ("value",), function(none, none_right),
          function(none, _first_zeroed), CLASSES, none, {"sizes": {"V": (5, 4), "N": (3, 2, 8)}}),
    Plant(28, "mean over all rows, ignored ones too", ("value",),
          function(mean, _mean_backward(lambda t: jnp.maximum((t != IGNORE).sum(), 1))),
          function(mean, _mean_backward(lambda t: jnp.asarray(t.size))), CLASSES, mean, SHORT),
    Plant(29, "0 / 0 where every row is ignored", ("value",),
          function(mean, _mean_backward(lambda t: jnp.maximum((t != IGNORE).sum(), 1))),
          function(mean, lambda g, x, t: (_mean_backward(lambda t: (t != IGNORE).sum())(g, x, t)[0]
                                          + 0 / (t != IGNORE).sum().astype(x.dtype), None)),
          CLASSES, mean, SHORT),
    Plant(32, "repeated indices overwrite", ("value",), function(taken, taken_right),
          function(taken, lambda g, t, w: (None, jnp.zeros_like(w).at[t].set(g))),
          [Index("N", below="V"), Float("V", "D")], taken),
)  # fmt: skip
