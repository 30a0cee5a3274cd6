"""rope for PyTorch. Maths, shapes and source: bpx/layers/rope.py."""

import torch

from bpx.layers.rope import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, sum_over
from bpx_torch._rule import Rule


def split(x, pairs, interleaved):
    """(first of each pair, second of each pair, what is not turned)."""
    turned, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    if interleaved:
        return turned[..., 0::2], turned[..., 1::2], rest
    return turned[..., :pairs], turned[..., pairs:], rest


def join(a, b, rest, interleaved):
    if interleaved:
        return torch.cat([torch.stack([a, b], -1).flatten(-2), rest], -1)
    return torch.cat([a, b, rest], -1)


def turn(x, cos, sin, interleaved):
    """x turned by the angles of cos and sin, in the dtype of x."""
    a, b, rest = split(at_least_float32(x), cos.shape[1], interleaved)
    cos, sin = cos.to(a.dtype), sin.to(a.dtype)
    return join(a * cos - b * sin, b * cos + a * sin, rest, interleaved).to(x.dtype)


def forward(x, cos, sin, *, interleaved):
    return turn(x, cos, sin, interleaved), ()


def backward(dy, arrays, residuals, needs, *, interleaved):
    # dx = dy turned back, by the angles of cos and -sin
    # dcos = sum(dy1 x1 + dy2 x2),  dsin = sum(dy2 x1 - dy1 x2) over all but the last two dims
    x, cos, sin = arrays
    dx = turn(dy, cos, -sin, interleaved) if needs[0] else None
    if not (needs[1] or needs[2]):
        return dx, None, None
    rows = tuple(range(x.ndim - 2))
    x1, x2, _ = split(at_least_float32(x), cos.shape[1], interleaved)
    dy1, dy2, _ = split(at_least_float32(dy), cos.shape[1], interleaved)
    dcos = sum_over(dy1 * x1 + dy2 * x2, rows) if needs[1] else None
    dsin = sum_over(dy2 * x1 - dy1 * x2, rows) if needs[2] else None
    return dx, dcos, dsin


def tangent(tangents, arrays, residuals, *, interleaved):
    # the tangent of x turned, plus x turned by the tangents of the tables (the rest not passed)
    x, cos, sin = arrays
    tx, tcos, tsin = tangents
    dy = torch.zeros_like(x) if tx is None else turn(tx, cos, sin, interleaved)
    if tcos is not None or tsin is not None:
        tcos = torch.zeros_like(cos) if tcos is None else tcos
        tsin = torch.zeros_like(sin) if tsin is None else tsin
        pairs = cos.shape[1]
        a, b, rest = split(turn(x, tcos, tsin, interleaved), pairs, interleaved)
        dy = dy + join(a, b, torch.zeros_like(rest), interleaved)
    return dy


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.rope"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.rope"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def rope(x, cos, sin, *, interleaved=False):
    """x (*N T D) with its first 2 P features turned in pairs by the tables cos, sin (T P); pairs
    are halves, or neighbours with interleaved. Maths: bpx/layers/rope.py."""
    return RULE(x, cos, sin, interleaved=interleaved)
