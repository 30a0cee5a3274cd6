"""cosine_similarity for PyTorch. Maths, shapes and source: bpx/layers/cosine_similarity.py."""

from math import inf

import torch

from bpx.layers.cosine_similarity import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def directions(x, eps):
    """(x / max(|x|, eps), 1 / max(|x|, eps), whether |x| > eps)."""
    square = x.square().sum(-1, keepdim=True)
    over = square > eps * eps
    # the square of the others is kept from the root, whose slope at 0 is infinite
    inverse = torch.where(over, torch.where(over, square, 1.0).rsqrt(), 1 / eps if eps else inf)
    return x * inverse, inverse, over


def forward(x1, x2, *, eps):
    u1, _, _ = directions(at_least_float32(x1), eps)
    u2, _, _ = directions(at_least_float32(x2), eps)
    return (u1 * u2).sum(-1).to(x1.dtype), ()


def backward(dy, arrays, residuals, needs, *, eps):
    # dx1 = dy / n1 (u2 - [r1 > eps] y u1): the other's direction, less its part along the own;
    # dx2 the same with 1 and 2 exchanged
    (u1, i1, over1), (u2, i2, over2) = (directions(at_least_float32(a), eps) for a in arrays)
    dy = at_least_float32(dy).unsqueeze(-1)
    y = (u1 * u2).sum(-1, keepdim=True)
    dx1 = dy * i1 * (u2 - torch.where(over1, y, 0.0) * u1) if needs[0] else None
    dx2 = dy * i2 * (u1 - torch.where(over2, y, 0.0) * u2) if needs[1] else None
    return dx1, dx2


def tangent(tangents, arrays, residuals, *, eps):
    # sum_D of each gradient for dy = 1 times its tangent
    one = torch.ones_like(arrays[0][..., 0])
    slopes = backward(one, arrays, residuals, (True, True), eps=eps)
    terms = [
        (s * t.to(s.dtype)).sum(-1) for s, t in zip(slopes, tangents, strict=True) if t is not None
    ]
    return sum(terms[1:], terms[0]).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.cosine_similarity"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast={"cuda": "float32"},
)


def cosine_similarity(x1, x2, *, eps=1e-8):
    """Cosine between x1 and x2 (*N D), (*N); lengths below eps count as eps. Maths:
    bpx/layers/cosine_similarity.py."""
    return RULE(x1, x2, eps=eps)
