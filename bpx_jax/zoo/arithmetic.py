"""Sums, factors, terms and options."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from bpx.verify import Float
from bpx.verify.zoo import Plant
from bpx_jax.zoo._rule import function

EPS = 1e-6


def squares(x, w):
    return x * x * w


def right(g, x, w):
    return 2 * g * x * w, (g * x * x).sum(0)


def add(x, b):
    return x + b


def product(x, y):
    return x * y


def _special_batch(g, x, w):
    dx, dw = right(g, x, w)
    return dx, dw * x.shape[-1] if x.shape[0] == 1 else dw


def _tiles(g, x, w):
    dx, dw = right(g, x, w)
    return dx[..., ::-1] if x.shape[-1] == 8 else dx, dw


def softmax(x):
    return jax.nn.softmax(x, -1)


def _softmax_backward(axis):
    def backward(g, x):
        y = softmax(x)
        return y * (g - (g * y).sum(axis, keepdims=True))

    return backward


def centred(x):
    return x - x.mean(tuple(range(1, x.ndim)), keepdims=True)


def _centred_backward(size):
    def backward(g, x):
        return g - g.sum(tuple(range(1, x.ndim)), keepdims=True) / size(g)

    return backward


def rms(x, w, shift=0.0):
    r = jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + EPS)
    return x * r * (shift + w)


def _rms_backward(eps=EPS, projection=1.0, forget=False):
    def backward(g, x, w, shift=0.0):
        r = jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + eps)
        gw = g * (w if forget else shift + w)
        dx = r * gw - projection * x * r**3 * (gw * x).mean(-1, keepdims=True)
        return dx, (g * x * r).sum(0)

    return backward


def normed(x, groups=1):
    parts = x.reshape(*x.shape[:-1], groups, -1)
    c = parts - parts.mean(-1, keepdims=True)
    return (c * jax.lax.rsqrt((c * c).mean(-1, keepdims=True) + EPS)).reshape(x.shape)


def _normed_backward(of, one_pass=False):
    def backward(g, x, groups=1):
        shape = (*x.shape[:-1], of(groups), -1)
        parts, gp = x.reshape(shape), g.reshape(shape)
        m = parts.mean(-1, keepdims=True)
        c = parts - m
        v = (
            (parts * parts).mean(-1, keepdims=True) - m * m
            if one_pass
            else ((c * c).mean(-1, keepdims=True))
        )
        r = jax.lax.rsqrt(v + EPS)
        h = c * r
        dx = r * (gp - gp.mean(-1, keepdims=True) - h * (gp * h).mean(-1, keepdims=True))
        return dx.reshape(x.shape)

    return backward


def gelu_tanh(x):
    return jax.nn.gelu(x, approximate=True)


def gelu_erf(x):
    return jax.nn.gelu(x, approximate=False)


def _tanh_slope(g, x):
    k = math.sqrt(2 / math.pi)
    t = jnp.tanh(k * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x))


def _erf_slope(g, x):
    density = jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return g * (0.5 * (1 + jax.lax.erf(x / math.sqrt(2))) + x * density)


def scores(q, k, causal=False):
    s = q @ k.T
    if causal:
        s = jnp.where(jnp.triu(jnp.ones(s.shape, bool), 1), -jnp.inf, s)
    return jax.nn.softmax(s, -1)


def _scores_backward(remember):
    def backward(g, q, k, causal=False):
        p = scores(q, k, causal and remember)
        ds = p * (g - (g * p).sum(-1, keepdims=True))
        return ds @ k, ds.T @ q

    return backward


def _large(g, x, w):
    dx, dw = right(g, x, w)
    return jnp.where(jnp.abs(x) > 8, 1.05 * dx, dx), dw


ROWS, PAIR = [Float("N", "D")], [Float("N", "D"), Float("D")]
GOOD, RMS = function(squares, right), function(rms, _rms_backward())
GROUPS = {"options": {"groups": [1, 2]}, "sizes": {"D": (6, 4, 8, 10)}}
PLANTS = (
    Plant(1, "bias gradient not summed over the batch", ("vjp",),
          function(add, lambda g, x, b: (g, g.sum(0))), function(add, lambda g, x, b: (g, g)),
          PAIR, add),
    Plant(5, "product with a label of size one", ("vjp",),
          function(product, lambda g, x, y: (g * y, (g * x).sum(keepdims=True))),
          function(product, lambda g, x, y: (g * y, g * x)), [Float("N"), Float(1)], product),
    Plant(7, "bias gradient is a mean", ("vjp",),
          function(add, lambda g, x, b: (g, g.sum(0))),
          function(add, lambda g, x, b: (g, g.mean(0))), PAIR, add),
    Plant(25, "the incoming gradient of a scalar is left out", ("cotangent", "linear"),
          function(lambda x: (x * x).sum(), lambda g, x: 2 * g * x),
          function(lambda x: (x * x).sum(), lambda g, x: 2 * x), ROWS, lambda x: (x * x).sum()),
    Plant(34, "projection of RMSNorm left out", ("vjp",), RMS,
          function(rms, _rms_backward(projection=0.0)), PAIR, rms),
    Plant(35, "the weight where forward has 1 + weight", ("options",), RMS,
          function(rms, _rms_backward(forget=True)), PAIR, rms, {"options": {"shift": [0.0, 1.0]}}),
    Plant(38, "groups forgotten in backward", ("options",),
          function(normed, _normed_backward(lambda n: n)),
          function(normed, _normed_backward(lambda n: 1)), ROWS, normed, GROUPS),
    Plant(40, "slope of the erf form for the tanh form", ("vjp",),
          function(gelu_tanh, _tanh_slope), function(gelu_tanh, _erf_slope), ROWS, gelu_tanh),
    Plant(41, "forward and backward agree and are both another function", ("forward",),
          function(gelu_tanh, _tanh_slope), function(gelu_erf, _erf_slope), ROWS, gelu_tanh),
    Plant(43, "epsilon left out of backward", ("scale",), RMS,
          function(rms, _rms_backward(eps=0.0)), PAIR, rms),
    Plant(44, "variance in one pass", ("scale", "dtype"),
          function(normed, _normed_backward(lambda n: n)),
          function(normed, _normed_backward(lambda n: n, one_pass=True)), ROWS, normed,
          {"sizes": {"D": (6, 4, 8, 10)}}),
    Plant(71, "the last of a batch overwrites the others", ("vjp",), GOOD,
          function(squares, lambda g, x, w: (2 * g * x * w, (g * x * x)[-1])), PAIR, squares),
    Plant(73, "a mask that backward does not know", ("options",),
          function(scores, _scores_backward(True)), function(scores, _scores_backward(False)),
          [Float("T", "D"), Float("T", "D")], scores,
          {"options": {"causal": [False, True]}, "sizes": {"T": (3, 5, 9), "D": (4, 2, 7)}}),
    Plant(74, "count of the last dim alone", ("vjp", "shape"),
          function(centred, _centred_backward(lambda g: g[0].size)),
          function(centred, _centred_backward(lambda g: g.shape[-1])),
          [Float("B", "C", "*S")], centred),
    Plant(76, "a reduction over rows too", ("vjp",), function(softmax, _softmax_backward(-1)),
          function(softmax, _softmax_backward((0, 1))), ROWS, softmax),
    Plant(77, "a batch of one takes another path", ("shape",), GOOD,
          function(squares, _special_batch), PAIR, squares),
    Plant(79, "wrong for values of real activations alone", ("scale",), GOOD,
          function(squares, _large), PAIR, squares),
    Plant(80, "tiles of one width", ("shape",), GOOD, function(squares, _tiles), PAIR, squares),
)  # fmt: skip
