"""Sums over broadcast dims, counts of gradients, sizes, blocks and ranks."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bpx.verify import Float
from bpx.verify.zoo import Plant
from bpx_torch.zoo._rule import function


def add(x, b):
    return x + b


def summed(g, b):
    return g.sum_to_size(b.shape)


def bias_right(g, x, b):
    return g, summed(g, b)


def _cut(forward, full, short):
    """A Function that returns too few gradients."""

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, flag=True):
            ctx.save_for_backward(x, w)
            return forward(x, w)

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return (g * w, summed(g * x, w), None)[: full if short is None else short]

    return lambda x, w: Rule.apply(x, w, True)


def windows(x, w, stride=1):
    """A 1-d convolution of one channel, without padding."""
    return F.conv1d(x[:, None], w[None, None], stride=stride)[:, 0]


def _windows_backward(tail):
    def backward(g, x, w, stride=1):
        left = x.shape[-1] - ((g.shape[-1] - 1) * stride + w.shape[0])
        dx = F.conv_transpose1d(g[:, None], w[None, None], stride=stride, output_padding=0)[:, 0]
        dx = F.pad(dx, (0, tail(left)))
        places = torch.arange(g.shape[-1])[:, None] * stride + torch.arange(w.shape[0])
        dw = torch.einsum("nt,ntk->k", g, x[:, places])
        return dx, dw

    return backward


def pooled(x, ceil=False):
    """Means of pairs; the last one alone where `ceil` keeps it."""
    n = x.shape[-1]
    even = n // 2 * 2
    y = x[..., :even].reshape(*x.shape[:-1], -1, 2).mean(-1)
    return torch.cat([y, x[..., even:]], -1) if ceil and n % 2 else y


def _pooled_backward(last):
    def backward(g, x, ceil=False):
        n = x.shape[-1]
        even = n // 2 * 2
        dx = (g[..., : even // 2] / 2).repeat_interleave(2, -1)
        if n % 2:
            end = g[..., even // 2 :] / last if ceil else torch.zeros_like(x[..., even:])
            dx = torch.cat([dx, end], -1)
        return dx

    return backward


def centred(x):
    """Every item without the mean over all its other dims."""
    return x - x.mean(tuple(range(1, x.dim())), keepdim=True)


def _centred_backward(size):
    def backward(g, x):
        dims = tuple(range(1, x.dim()))
        return g - g.sum(dims, keepdim=True) / size(g)

    return backward


def softmax(x):
    return torch.softmax(x, -1)


def _softmax_backward(dims):
    def backward(g, x):
        y = softmax(x)
        return y * (g - (g * y).sum(dims, keepdim=True))

    return backward


def squares(x, w):
    return x * x * w


def _special_batch(g, x, w):
    dw = (g * x * x).sum(0)
    return 2 * g * x * w, dw * x.shape[-1] if x.shape[0] == 1 else dw


def _tiles(g, x, w):
    dx = 2 * g * x * w
    return (dx.flip(-1) if x.shape[-1] == 8 else dx), (g * x * x).sum(0)


def squares_right(g, x, w):
    return 2 * g * x * w, (g * x * x).sum(0)


def _narrow(g, x, w):
    """Offsets in 16-bit integers: what lies beyond is added to another place."""
    dx = 2 * g * x * w
    at = torch.arange(dx.numel(), device=dx.device)
    wrapped = torch.where(at < 2**15, at, at - 2**15)
    return dx.flatten()[wrapped].reshape(dx.shape), (g * x * x).sum(0)


def blocks(x, w):
    return torch.logaddexp(x + w, torch.zeros_like(x)).sum(-1)


def _blocks_backward(padded):
    def backward(g, x, w):
        inside = g[..., None] * torch.sigmoid(x + w)
        dw = inside.sum()
        if padded and (tail := -x.shape[-1] % 4):
            dw = dw + (g[..., None] * torch.sigmoid(w).expand(tail)).sum()
        return inside, dw

    return backward


MANY = 1000


def _many(g, x, w):
    """1 % too large for many elements: within a tolerance that is multiplied by their number."""
    return 2 * g * x * w * (1.01 if x.numel() >= MANY else 1.0), (g * x * x).sum(0)


def reduced(x, reduction="sum"):
    y = x * x
    return y if reduction == "none" else y.sum() if reduction == "sum" else y.mean()


def _reduced_backward(mean):
    """`mean` is the factor of a mean. A suite whose loop over reductions looks at the last one
    alone passes any."""

    def backward(g, x, reduction="sum"):
        return 2 * x * (g * mean(x) if reduction == "mean" else g)

    return backward


ROWS = [Float("N", "D")]
PAIR = [Float("N", "D"), Float("D")]
STRIDES = {"options": {"stride": [1, 3, 4]}, "sizes": {"T": (9, 5, 7, 8, 11)}, "vmap": False}
PLANTS = (
    Plant(1, "bias gradient not summed over the batch", ("return",),
          function(add, bias_right, 2), function(add, lambda g, x, b: (g, g), 2), PAIR, add),
    Plant(2, "broadcast dim of size one keeps its full gradient", ("return",),
          function(add, bias_right, 2), function(add, lambda g, x, b: (g, g), 2),
          [Float("N", "D"), Float(1, "D")], add),
    Plant(4, "the engine sums a gradient that is too large", ("return",),
          function(add, bias_right, 2), function(add, lambda g, x, b: (g, g), 2),
          [Float("B", "N", "D"), Float("D")], add),
    Plant(5, "product with a label of size one", ("return", "shape"),
          function(lambda x, y: x * y, lambda g, x, y: (g * y, summed(g * x, y)), 2),
          function(lambda x, y: x * y, lambda g, x, y: (g * y, g * x), 2),
          [Float("N"), Float(1)], lambda x, y: x * y),
    Plant(7, "bias gradient is a mean", ("vjp",), function(add, bias_right, 2),
          function(add, lambda g, x, b: (g, g.mean(0)), 2), PAIR, add),
    Plant(10, "input gradient short where the stride drops two or more", ("options", "shape"),
          function(windows, _windows_backward(lambda left: left), 2),
          function(windows, _windows_backward(lambda left: min(left, 1)), 2),
          [Float("N", "T"), Float(2)], windows, STRIDES),
    Plant(11, "divisor of the last window", ("options",),
          function(pooled, _pooled_backward(1)), function(pooled, _pooled_backward(2)),
          ROWS, pooled, {"options": {"ceil": [False, True]}, "sizes": {"D": (5, 4, 7, 3, 9)}}),
    Plant(13, "a gradient too few", ("return",), _cut(lambda x, w: x * w, 3, None),
          _cut(lambda x, w: x * w, 3, 1), PAIR, lambda x, w: x * w, {"vmap": False}),
    Plant(37, "padded positions count in a reduction", ("shape",),
          function(blocks, _blocks_backward(False), 2), function(blocks, _blocks_backward(True), 2),
          [Float("N", "D"), Float()], blocks),
    Plant(71, "the last of a batch overwrites the others", ("vjp",),
          function(squares, squares_right, 2),
          function(squares, lambda g, x, w: (2 * g * x * w, (g * x * x)[-1]), 2), PAIR, squares),
    Plant(74, "count of the last dim alone", ("vjp", "shape"),
          function(centred, _centred_backward(lambda g: g[0].numel())),
          function(centred, _centred_backward(lambda g: g.shape[-1])),
          [Float("B", "C", "*S")], centred, {"vmap": False}),
    Plant(76, "a reduction over rows too", ("vjp",),
          function(softmax, _softmax_backward(-1)), function(softmax, _softmax_backward((0, 1))),
          ROWS, softmax),
    Plant(77, "a batch of one takes another path", ("shape",), function(squares, squares_right, 2),
          function(squares, _special_batch, 2), PAIR, squares),
    Plant(80, "tiles of one width", ("shape",), function(squares, squares_right, 2),
          function(squares, _tiles, 2), PAIR, squares),
    Plant(106, "right for the last of the options alone", ("options",),
          function(reduced, _reduced_backward(lambda x: 1 / x.numel())),
          function(reduced, _reduced_backward(lambda x: 1.0)), ROWS, reduced,
          {"options": {"reduction": ["none", "mean", "sum"]}}),
    Plant(107, "an error within a tolerance times the number of elements", ("shape", "dtype"),
          function(squares, squares_right, 2), function(squares, _many, 2), PAIR, squares),
    Plant(82, "offsets overflow", ("width", "dtype"), function(squares, squares_right, 2),
          function(squares, _narrow, 2), PAIR, squares),
)  # fmt: skip
