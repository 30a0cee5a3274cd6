"""rope for torch on the CPU, on torch's own threads. Maths, shapes and source:
bpx/layers/rope.py."""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def sizes(x, cos, interleaved):
    """N, T, D, P and which are pairs."""
    length, columns = x.shape[-2:]
    return x.numel() // (length * columns), length, columns, cos.shape[1], interleaved


def turn(x, cos, sin, interleaved, way):
    statistic = arithmetic(x.dtype)
    x, cos, sin = readable(x, x.dtype), readable(cos, statistic), readable(sin, statistic)
    y = torch.empty_like(x)
    _call.run("rope_turn", x.dtype, (x, cos, sin, y), sizes(x, cos, interleaved), (way,))
    return y


def forward(x, cos, sin, *, interleaved):
    return turn(x, cos, sin, interleaved, 1.0), ()


def backward(dy, arrays, residuals, needs, *, interleaved):
    x, cos, sin = arrays
    dy = readable(dy, x.dtype)
    dx = turn(dy, cos, sin, interleaved, -1.0) if needs[0] else None
    if not (needs[1] or needs[2]):
        return dx, None, None
    x = readable(x, x.dtype)
    dcos = x.new_empty(cos.shape, dtype=arithmetic(x.dtype))
    dsin = torch.empty_like(dcos)
    _call.run("rope_tables", x.dtype, (dy, x, dcos, dsin), sizes(x, cos, interleaved))
    return dx, dcos, dsin
