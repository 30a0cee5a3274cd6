"""Edges of a domain: constant rows, zeros, large values, ties, and the dtype of what comes back."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bpx.verify import Float
from bpx.verify.zoo import Plant
from bpx_torch.zoo._rule import function


def spread(x):
    """Standard deviation of a row; its derivative is 0 where the row is constant."""
    c = x - x.mean(-1, keepdim=True)
    v = (c * c).mean(-1)
    return torch.where(v > 0, torch.sqrt(torch.where(v > 0, v, 1.0)), 0.0)


def _spread_backward(guard):
    def backward(g, x):
        c = x - x.mean(-1, keepdim=True)
        s = spread(x)[..., None]
        if guard:
            return (
                torch.where(s > 0, c / torch.where(s > 0, s, 1.0), 0.0) * g[..., None] / x.shape[-1]
            )
        return c / (c * c).mean(-1, keepdim=True).sqrt() * g[..., None] / x.shape[-1]

    return backward


def root(x):
    """sqrt for x > 0, and 0 with derivative 0 at 0."""
    return torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), 0.0)


def root_right(g, x):
    return torch.where(x > 0, 0.5 * g / torch.sqrt(torch.where(x > 0, x, 1.0)), 0.0)


def _root_poisoned(g, x):
    return (x > 0) * (0.5 * g / torch.sqrt(x))


def product(x):
    return x.prod(-1)


def product_right(g, x):
    """The product of all others, by products from both ends."""
    one = torch.ones_like(x[..., :1])
    left = torch.cat([one, x[..., :-1]], -1).cumprod(-1)
    right = torch.cat([one, x.flip(-1)[..., :-1]], -1).cumprod(-1).flip(-1)
    return g[..., None] * left * right


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))


def _softplus_overflow(g, x):
    e = torch.exp(x)
    return g * e / (1 + e)


def weighted_log(w, p):
    return torch.xlogy(w, p)


def weighted_right(g, w, p):
    inside = torch.where(p > 0, p, 1.0)
    return torch.where(p > 0, g * torch.log(inside), 0.0), torch.where(w > 0, g * w / inside, 0.0)


def weighted_ref(w, p):
    """w log p, with 0 where w is 0, and derivative 0 there and where p is 0."""
    inside = torch.where(p > 0, p, 1.0)
    return torch.where((w > 0) & (p > 0), w, 0.0 * w) * torch.log(inside) + torch.where(
        p > 0, w * 0.0, 0.0
    )


def entropy(p):
    return torch.where(p > 0, p * torch.log(torch.where(p > 0, p, 1.0)), 0.0)


def entropy_right(g, p):
    return torch.where(p > 0, g * (torch.log(torch.where(p > 0, p, 1.0)) + 1), 0.0)


def divergence(p, logq):
    return entropy(p) - p * logq


def _divergence_backward(guard):
    def backward(g, p, logq):
        if guard:
            dp = torch.where(p > 0, torch.log(torch.where(p > 0, p, 1.0)) + 1, 0.0)
        else:
            dp = torch.where(p > 0, 1.0, 0.0) * (torch.log(p) + 1)
        return g * (dp - logq), -g * p

    return backward


def six(x):
    return x.clamp(0, 6)


def six_ref(x):
    return F.relu6(x)


def six_right(g, x):
    return g * ((x > 0) & (x < 6))


def _six_split(g, x):
    return g * (((x > 0) & (x < 6)) + 0.5 * ((x == 0) | (x == 6)))


def largest(x):
    """The maximum; ties share the gradient."""
    return x.amax(-1)


def _largest_backward(count):
    def backward(g, x):
        tied = (x == x.amax(-1, keepdim=True)).to(x.dtype)
        return g[..., None] * tied / count(tied)

    return backward


def _half_count(tied):
    n = tied.double().sum(-1, keepdim=True).to(tied.dtype)
    return n


def _safe_count(tied):
    return (
        tied.double().sum(-1, keepdim=True).float()
        if tied.dtype != torch.float64
        else (tied.sum(-1, keepdim=True))
    )


def cube(x):
    return x * x * x


ROWS, POSITIVE = [Float("N", "D")], [Float("N", "D", low=0.0)]
PLANTS = (
    Plant(46, "standard deviation of a constant row", ("value",),
          function(spread, _spread_backward(True)), function(spread, _spread_backward(False)),
          ROWS, spread, {"kinks": "reference"}),
    Plant(47, "NaN from the branch that is not taken", ("value",), function(root, root_right),
          function(root, _root_poisoned), POSITIVE, root),
    Plant(49, "product divided by its factors", ("value",), function(product, product_right),
          function(product, lambda g, x: g[..., None] * x.prod(-1, keepdim=True) / x), ROWS,
          product),
    Plant(50, "exp overflows in a slope", ("value", "scale"),
          function(softplus, lambda g, x: g * torch.sigmoid(x)),
          function(softplus, _softplus_overflow), ROWS, softplus),
    Plant(52, "0 log 0 in a gradient", ("value",), function(entropy, entropy_right),
          function(entropy, lambda g, p: g * (torch.log(p) + 1) * (p > 0)), POSITIVE, entropy),
    Plant(53, "gradient of a divergence at probability 0", ("value",),
          function(divergence, _divergence_backward(True), 2),
          function(divergence, _divergence_backward(False), 2),
          [Float("N", "D", low=0.0), Float("N", "D")], divergence),
    Plant(55, "half a gradient at a bound", ("value",), function(six, six_right),
          function(six, _six_split), [Float("N", "D", at=(0.0, 6.0))], six_ref),
    Plant(56, "every tied maximum gets all", ("value",),
          function(largest, _largest_backward(_safe_count)),
          function(largest, _largest_backward(lambda tied: 1)), ROWS, largest),
    Plant(59, "count of ties overflows in half precision", ("dtype",),
          function(largest, _largest_backward(_safe_count)),
          function(largest, _largest_backward(_half_count)), ROWS, largest),
    Plant(61, "gradient of another dtype", ("return",), function(cube, lambda g, x: 3 * g * x * x),
          function(cube, lambda g, x: (3 * g * x * x).to(
              torch.float64 if x.dtype == torch.float32 else torch.float32)), ROWS, cube),
)  # fmt: skip
