"""nll_loss for PyTorch. Maths, shapes and source: bpx/losses/nll_loss.py."""

import torch

from bpx.losses.nll_loss import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._labels import at, labels, over_labels
from bpx_torch._rule import Rule


def rows(x, target, weight, ignore_index):
    """What `labels` says of the rows of x, of which only shape and dtype are looked at."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    weight = None if weight is None else weight.to(dtype)
    return labels(target, x.shape[-1], weight, ignore_index, dtype)


def reduced(loss, wy, reduction):
    if reduction == "none":
        return loss
    return over_labels(loss.sum(), wy) if reduction == "mean" else loss.sum()


def put(shape, outside, label, values):
    """Zeros but for the values at the labels; NaN in the rows of those out of range."""
    dx = values.new_zeros(shape).scatter(-1, label.unsqueeze(-1), values.unsqueeze(-1))
    return dx.masked_fill(outside.unsqueeze(-1), torch.nan)


def forward(x, target, weight, *, ignore_index, reduction):
    ignored, _, label, wy = rows(x, target, weight, ignore_index)
    xy = at_least_float32(at(x, label)).masked_fill(ignored, 0.0)
    return reduced(-wy * xy, wy, reduction).to(x.dtype), (xy,)


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction):
    # With g = dy (over sum(wy) in a mean):
    #   dx = -g wy onehot(target)
    #   dweight[c] = -sum of g * x[target] over the rows with label c
    #                - sum of g * y over them, in a mean             through sum(wy)
    ignored, outside, label, wy = rows(*arrays, ignore_index)
    (xy,), g, shape = residuals, at_least_float32(dy), arrays[0].shape
    if reduction == "mean":
        g = over_labels(g, wy)
    dx = dweight = None
    if needs[0]:
        dx = put(shape, outside, label, -g * wy)
    if needs[2]:
        y = over_labels((-wy * xy).sum(), wy) if reduction == "mean" else 0.0
        # 0 * wy: NaN for a label out of range
        dwy = (-g * (xy + y) + 0 * wy).masked_fill(ignored, 0.0)
        dweight = dwy.new_zeros(shape[-1:]).index_add(0, label.flatten(), dwy.flatten())
    return dx, None, dweight


def tangent(tangents, arrays, residuals, *, ignore_index, reduction):
    # row by row: -wy tx[target] - tweight[target] x[target], and -y tweight[target] in a mean
    ignored, _, label, wy = rows(*arrays, ignore_index)
    (xy,), (tx, _, tweight) = residuals, tangents
    t = torch.zeros_like(xy)
    if tx is not None:
        t = t - wy * at(tx, label).to(xy.dtype)
    if tweight is not None:
        y = over_labels((-wy * xy).sum(), wy) if reduction == "mean" else 0.0
        t = t - tweight.to(xy.dtype)[label] * (xy + y)
    return reduced(t.masked_fill(ignored, 0.0), wy, reduction)


def residuals_backward(dresiduals, arrays, residuals, needs, *, ignore_index, **options):
    # xy = x[target], 0 in an ignored row
    ignored, outside, label, _ = rows(*arrays, ignore_index)
    dxy = dresiduals[0].masked_fill(ignored, 0.0)
    return put(arrays[0].shape, outside, label, dxy), None, None


def residuals_tangent(tangents, arrays, residuals, *, ignore_index, **options):
    (xy,), (tx, *_) = residuals, tangents
    ignored, _, label, _ = rows(*arrays, ignore_index)
    if tx is None:
        return (torch.zeros_like(xy),)
    return (at(tx, label).to(xy.dtype).masked_fill(ignored, 0.0),)


PLAIN = Kernel(
    "plain",
    forward,
    backward,
    tangent,
    residuals_backward=residuals_backward,
    residuals_tangent=residuals_tangent,
)
RULE = Rule(SPEC, (Kernel.lazy("cpu", "bpx_torch.kernels.cpu.nll_loss"), PLAIN), autocast="float32")


def nll_loss(x, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """Minus the log-probability in x (*N V) of the labels target (*N, integers); weight (V).
    Maths: bpx/losses/nll_loss.py."""
    return RULE(x, target, weight, ignore_index=ignore_index, reduction=reduction)
