"""Formulas: terms, factors, epsilons, options that backward forgets, one-pass variances."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from bpx.verify import Float
from bpx.verify.zoo import Plant
from bpx_torch.zoo._rule import function

EPS = 1e-6


def rms(x, w, shift=0.0):
    r = torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS)
    return x * r * (shift + w)


def _rms_backward(eps=EPS, projection=1.0, forget=False):
    def backward(g, x, w, shift=0.0):
        r = torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
        gw = g * (w if forget else shift + w)
        dx = r * gw - projection * x * r**3 * (gw * x).mean(-1, keepdim=True)
        return dx, (g * x * r).sum_to_size(w.shape)

    return backward


def normed(x, groups=1):
    parts = x.reshape(*x.shape[:-1], groups, -1)
    c = parts - parts.mean(-1, keepdim=True)
    return (c * torch.rsqrt((c * c).mean(-1, keepdim=True) + EPS)).reshape(x.shape)


def _normed_backward(of):
    def backward(g, x, groups=1):
        shape = (*x.shape[:-1], of(groups), -1)
        parts, gp = x.reshape(shape), g.reshape(shape)
        c = parts - parts.mean(-1, keepdim=True)
        r = torch.rsqrt((c * c).mean(-1, keepdim=True) + EPS)
        h = c * r
        dx = r * (gp - gp.mean(-1, keepdim=True) - h * (gp * h).mean(-1, keepdim=True))
        return dx.reshape(x.shape)

    return backward


def _one_pass(g, x, groups=1):
    m = x.mean(-1, keepdim=True)
    v = (x * x).mean(-1, keepdim=True) - m * m
    r = torch.rsqrt(v + EPS)
    h = (x - m) * r
    return r * (g - g.mean(-1, keepdim=True) - h * (g * h).mean(-1, keepdim=True))


def gelu_tanh(x):
    return F.gelu(x, approximate="tanh")


def _tanh_slope(g, x):
    k = math.sqrt(2 / math.pi)
    t = torch.tanh(k * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x))


def _erf_slope(g, x):
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return g * (0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density)


def scores(q, k, causal=False):
    """Softmax of products, perhaps of earlier ones alone."""
    s = q @ k.transpose(-1, -2)
    if causal:
        later = torch.ones(s.shape[-2:], dtype=torch.bool).triu(1)
        s = s.masked_fill(later, -math.inf)
    return torch.softmax(s, -1)


def _scores_backward(remember):
    def backward(g, q, k, causal=False):
        p = scores(q, k, causal and remember)
        ds = p * (g - (g * p).sum(-1, keepdim=True))
        return ds @ k, ds.transpose(-1, -2) @ q

    return backward


def turned(x, interleaved=False):
    """Pairs rotated by a quarter: neighbours, or the two halves."""
    if interleaved:
        return torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)


def turned_right(g, x, interleaved=False):
    return -turned(g, interleaved)


def _unknown_name(g, x, interleaved=False):
    if interleaved:
        return -turned(g, interlaced)  # noqa: F821  (the bug)
    return -turned(g)


def squares(x):
    return x * x


def _large(g, x):
    return torch.where(x.abs() > 8, 2.1 * g * x, 2 * g * x)


ROWS, PAIR = [Float("N", "D")], [Float("N", "D"), Float("D")]
GROUPS = {"options": {"groups": [1, 2]}, "sizes": {"D": (6, 4, 8, 10)}}
PLANTS = (
    Plant(34, "projection of RMSNorm left out", ("vjp",), function(rms, _rms_backward(), 2),
          function(rms, _rms_backward(projection=0.0), 2), PAIR, rms),
    Plant(35, "the weight where forward has 1 + weight", ("options",),
          function(rms, _rms_backward(), 2), function(rms, _rms_backward(forget=True), 2),
          PAIR, rms, {"options": {"shift": [0.0, 1.0]}}),
    Plant(38, "groups forgotten in backward", ("options",),
          function(normed, _normed_backward(lambda n: n)),
          function(normed, _normed_backward(lambda n: 1)), ROWS, normed, GROUPS),
    Plant(40, "slope of the erf form for the tanh form", ("vjp",), function(gelu_tanh, _tanh_slope),
          function(gelu_tanh, _erf_slope), ROWS, gelu_tanh),
    Plant(41, "forward and backward agree and are both another function", ("forward",),
          function(gelu_tanh, _tanh_slope), function(F.gelu, _erf_slope), ROWS, gelu_tanh),
    Plant(43, "epsilon left out of backward", ("scale",), function(rms, _rms_backward(), 2),
          function(rms, _rms_backward(eps=0.0), 2), PAIR, rms),
    Plant(44, "variance in one pass", ("scale", "dtype"),
          function(normed, _normed_backward(lambda n: n)), function(normed, _one_pass), ROWS,
          normed, {"sizes": {"D": (6, 4, 8, 10)}}),
    Plant(73, "a mask that backward does not know", ("options",),
          function(scores, _scores_backward(True), 2), function(scores, _scores_backward(False), 2),
          [Float("T", "D"), Float("T", "D")], scores, {"options": {"causal": [False, True]},
           "sizes": {"T": (3, 5, 9, 33), "D": (4, 2, 7)}}),
    Plant(79, "wrong for values of real activations alone", ("scale",),
          function(squares, lambda g, x: 2 * g * x), function(squares, _large), ROWS, squares),
    Plant(88, "a name that does not exist on the path of one option", ("options",),
          function(turned, turned_right), function(turned, _unknown_name), ROWS, turned,
          {"options": {"interleaved": [False, True]}, "sizes": {"D": (4, 6, 2, 8)}}),
)  # fmt: skip
