"""Edges of a domain, dtypes, gradients that are missing, and transforms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from bpx.verify import Float, Index
from bpx.verify.zoo import Plant
from bpx_jax.zoo._rule import function


def cube(x):
    return x * x * x


def right(g, x):
    return 3 * g * x * x


def spread(x):
    """Standard deviation of a row; its derivative is 0 where the row is constant."""
    c = x - x.mean(-1, keepdims=True)
    v = (c * c).mean(-1)
    return jnp.where(v > 0, jnp.sqrt(jnp.where(v > 0, v, 1.0)), 0.0)


def _spread_right(g, x):
    c, s = x - x.mean(-1, keepdims=True), spread(x)[..., None]
    return jnp.where(s > 0, c / jnp.where(s > 0, s, 1.0), 0.0) * g[..., None] / x.shape[-1]


def _spread_wrong(g, x):
    c = x - x.mean(-1, keepdims=True)
    return c / jnp.sqrt((c * c).mean(-1, keepdims=True)) * g[..., None] / x.shape[-1]


def root(x):
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def _root_right(g, x):
    return jnp.where(x > 0, 0.5 * g / jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def product(x):
    return x.prod(-1)


def _product_right(g, x):
    one = jnp.ones_like(x[..., :1])
    left = jnp.concatenate([one, jnp.cumprod(x[..., :-1], -1)], -1)
    back = jnp.concatenate([one, jnp.cumprod(x[..., :0:-1], -1)], -1)[..., ::-1]
    return g[..., None] * left * back


def softplus(x):
    return jnp.logaddexp(x, jnp.zeros_like(x))


def _overflow(g, x):
    e = jnp.exp(x)
    return g * e / (1 + e)


def entropy(p):
    return jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0)


def _entropy_right(g, p):
    return jnp.where(p > 0, g * (jnp.log(jnp.where(p > 0, p, 1.0)) + 1), 0.0)


def six(x):
    return jnp.clip(x, 0, 6)


def six_ref(x):
    """Derivative 0 at both ends."""
    inside = (x > 0) & (x < 6)
    return jnp.where(inside, x, jax.lax.stop_gradient(jnp.clip(x, 0, 6)))


def _six_right(g, x):
    return jnp.where((x > 0) & (x < 6), g, 0)


def _six_split(g, x):
    return jnp.where((x > 0) & (x < 6), g, jnp.where((x == 0) | (x == 6), 0.5 * g, 0))


def largest(x):
    return x.max(-1)


def _tied(x):
    return (x == x.max(-1, keepdims=True)).astype(x.dtype)


def _largest_right(g, x):
    count = _tied(x).astype(jnp.float32).sum(-1, keepdims=True)
    return g[..., None] * _tied(x) / count.astype(x.dtype)


def taken(t, w):
    return w[t]


def _taken_right(g, t, w):
    wide = jnp.promote_types(jnp.float32, w.dtype)
    return None, jnp.zeros(w.shape, wide).at[t].add(g.astype(wide)).astype(w.dtype)


def _in_half(g, t, w):
    """One row after the other, in the dtype of the weights."""
    dw, _ = jax.lax.scan(lambda d, x: (d.at[x[0]].add(x[1]), None), jnp.zeros_like(w), (t, g))
    return None, dw


def _noisy(g, x):
    """A race, as a host's random numbers."""
    noise = jax.pure_callback(
        lambda v: np.random.default_rng().uniform(size=v.shape),
        jax.ShapeDtypeStruct(x.shape, float),
        x,
        vmap_method="expand_dims",
    )
    return 3 * g * x * x * (1 + 1e-9 * noise.astype(x.dtype))


def scaled(x, w):
    return x * x * w


def _scaled_right(g, x, w):
    return 2 * g * x * w, (g * x * x).sum(0)


def turned(x, interleaved=False):
    a, b = (x[..., ::2], x[..., 1::2]) if interleaved else jnp.split(x, 2, -1)
    return jnp.concatenate([-b, a], -1)


def _turned_right(g, x, interleaved=False):
    b, a = jnp.split(g, 2, -1)
    parts = [a, -b]
    if interleaved:
        return jnp.stack(parts, -1).reshape(x.shape)
    return jnp.concatenate(parts, -1)


def _unknown_name(g, x, interleaved=False):
    if interleaved:
        return _turned_right(g, x, interlaced)  # noqa: F821  (the bug)
    return _turned_right(g, x)


@jax.custom_batching.custom_vmap
def _halves(x, w):
    return scaled(x, w)


@_halves.def_vmap
def _halves_vmap(size, batched, x, w):
    x = x if batched[0] else x[None]
    return x * x * (w[:1] if batched[1] else w), True  # the first of the batch for all


@jax.custom_vjp
def unmoved(x, w):
    return _halves(x, w)


unmoved.defvjp(lambda x, w: (_halves(x, w), (x, w)), lambda kept, g: _scaled_right(g, *kept))

ROWS, POSITIVE = [Float("N", "D")], [Float("N", "D", low=0.0)]
PAIR = [Float("N", "D"), Float("D")]
GOOD = function(cube, right)
PLANTS = (
    Plant(46, "standard deviation of a constant row", ("value",), function(spread, _spread_right),
          function(spread, _spread_wrong), ROWS, spread),
    Plant(47, "NaN from the branch that is not taken", ("value",), function(root, _root_right),
          function(root, lambda g, x: jnp.sign(x) * (0.5 * g / jnp.sqrt(x))), POSITIVE, root),
    Plant(49, "product divided by its factors", ("value",), function(product, _product_right),
          function(product, lambda g, x: g[..., None] * x.prod(-1, keepdims=True) / x), ROWS,
          product),
    Plant(50, "exp overflows in a slope", ("value", "scale"),
          function(softplus, lambda g, x: g * jax.nn.sigmoid(x)), function(softplus, _overflow),
          ROWS, softplus),
    Plant(52, "0 log 0 in a gradient", ("value",), function(entropy, _entropy_right),
          function(entropy, lambda g, p: g * (jnp.log(p) + 1) * jnp.sign(p)), POSITIVE, entropy),
    Plant(55, "half a gradient at a bound", ("value",), function(six, _six_right),
          function(six, _six_split), [Float("N", "D", at=(0.0, 6.0))], six_ref),
    Plant(56, "every tied maximum gets all", ("value",), function(largest, _largest_right),
          function(largest, lambda g, x: g[..., None] * _tied(x)), ROWS, largest),
    Plant(58, "embedding gradient accumulated in half precision", ("dtype",),
          function(taken, _taken_right), function(taken, _in_half),
          [Index("N", below=2), Float(2, 3)], taken),
    Plant(61, "gradient of another dtype", ("return",), GOOD,
          function(cube, lambda g, x: right(g, x).astype(
              jnp.float64 if x.dtype == jnp.float32 else jnp.float32)), ROWS, cube),
    Plant(70, "runs differ", ("repeat",), GOOD, function(cube, _noisy), ROWS, cube),
    Plant(83, "the gradient of the weight is zero", ("vjp",), function(scaled, _scaled_right),
          function(scaled, lambda g, x, w: (2 * g * x * w, jnp.zeros_like(w))), PAIR, scaled),
    Plant(85, "the graph is cut", ("vjp",), function(scaled, _scaled_right),
          lambda x, w: scaled(jax.lax.stop_gradient(x), w), PAIR, scaled),
    Plant(88, "a name that does not exist on the path of one option", ("options",),
          function(turned, _turned_right), function(turned, _unknown_name), ROWS, turned,
          {"options": {"interleaved": [False, True]}, "sizes": {"D": (4, 6, 2, 8)}}),
    Plant(95, "a batching rule for one case alone", ("transform",),
          function(scaled, _scaled_right), unmoved, PAIR, scaled),
)  # fmt: skip
