"""multi_margin for PyTorch. Maths, shapes and source: bpx/losses/multi_margin.py."""

import torch

from bpx.losses.multi_margin import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._labels import at, labels
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def lines(x, target, weight, margin):
    """(outside, label, wy, z), with z 0 at the label."""
    weight = None if weight is None else weight.to(x.dtype)
    _, outside, label, wy = labels(target, x.shape[-1], weight, None, x.dtype)
    z = (margin - at(x, label).unsqueeze(-1) + x).clamp(min=0)
    return outside, label, wy, z.scatter(-1, label.unsqueeze(-1), 0.0)


def slope(z, p):
    """dh / dz: 1 | 2 z where z > 0."""
    return (z > 0).to(z.dtype) if p == 1 else 2 * z


def forward(x, target, weight, *, p, margin, reduction):
    wide = at_least_float32(x)
    _, _, wy, z = lines(wide, target, weight, margin)
    loss = wy * (z if p == 1 else z.square()).sum(-1) / x.shape[-1]
    return reduce(loss, reduction).to(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, p, margin, reduction):
    # With g = dy / V (over the number of rows in a mean):
    #   dx = g wy (1 | 2z) where z > 0,  less their sum at the target
    #   dweight[c] = sum of g * sum_V(z | z^2) over the rows with label c
    x, target, weight = arrays
    x = at_least_float32(x)
    outside, label, wy, z = lines(x, target, weight, margin)
    g = each(dy.to(x.dtype), label.numel(), reduction) / x.shape[-1]
    dx = dweight = None
    if needs[0]:
        dx = (g * wy).unsqueeze(-1) * slope(z, p)
        dx = dx.scatter_add(-1, label.unsqueeze(-1), -dx.sum(-1, keepdim=True))
        dx = dx.masked_fill(outside.unsqueeze(-1), torch.nan)
    if needs[2]:
        dwy = g * (z if p == 1 else z.square()).sum(-1) + 0 * wy  # NaN for a label out of range
        dweight = torch.zeros_like(weight, dtype=x.dtype)
        dweight = dweight.index_add(0, label.flatten(), dwy.flatten())
    return dx, None, dweight


def tangent(tangents, arrays, residuals, *, p, margin, reduction):
    # row by row: wy / V (1 | 2z) . (tx - tx[target]) + tweight[target] / V sum_V(z | z^2)
    x, target, weight = arrays
    wide = at_least_float32(x)
    _, label, wy, z = lines(wide, target, weight, margin)
    tx, _, tweight = (None if t is None else t.to(wide.dtype) for t in tangents)
    t = torch.zeros_like(wy)
    if tx is not None:
        t = t + wy * (slope(z, p) * (tx - at(tx, label).unsqueeze(-1))).sum(-1)
    if tweight is not None:
        t = t + tweight[label] * (z if p == 1 else z.square()).sum(-1)
    return reduce(t / x.shape[-1], reduction).to(x.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.multi_margin"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def multi_margin(x, target, weight=None, *, p=1, margin=1.0, reduction="mean"):
    """Hinge loss of the scores x (*N V) with the labels target (*N, integers); weight (V). Maths:
    bpx/losses/multi_margin.py."""
    return RULE(x, target, weight, p=p, margin=margin, reduction=reduction)
