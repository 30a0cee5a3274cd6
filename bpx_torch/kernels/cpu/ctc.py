"""ctc_loss for torch on the CPU: the native core by pointer, on torch's own threads.

The whole walk through the frames, forwards and backwards, without a torch operation per frame.
Maths, shapes and source: bpx/losses/ctc.py.
"""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable

REDUCTIONS = ("none", "mean", "sum")


def refuses(arrays, dims):
    return _call.refuses(arrays)


def _sizes(x, targets, blank, reduction, zero_infinity):
    frames, classes, most = x.shape[0], x.shape[-1], targets.shape[-1]
    items, reduction = targets.numel() // most, REDUCTIONS.index(reduction)
    return frames, items, classes, most, blank, 8, reduction, int(zero_infinity)


def forward(log_probs, targets, input_lengths, target_lengths, *, blank, reduction, zero_infinity):
    x = readable(log_probs, log_probs.dtype)
    labels = [readable(v, torch.int64) for v in (targets, input_lengths, target_lengths)]
    sizes = _sizes(x, targets, blank, reduction, zero_infinity)
    y = x.new_empty(input_lengths.shape if reduction == "none" else ())
    shape = (*x.shape[:-1], 2 * targets.shape[-1] + 1)
    alpha = x.new_empty(shape, dtype=arithmetic(x.dtype))
    _call.run("ctc_forward", x.dtype, (x, *labels, y, alpha), sizes)
    return y, (alpha,)


def backward(dy, arrays, residuals, needs, *, blank, reduction, zero_infinity):
    x, targets, *lengths = arrays
    dtype, wide = x.dtype, arithmetic(x.dtype)
    x, dy, alpha = readable(x, dtype), readable(dy, wide), readable(residuals[0], wide)
    labels = [readable(v, torch.int64) for v in (targets, *lengths)]
    sizes = _sizes(x, targets, blank, reduction, zero_infinity)
    dx = torch.empty_like(x)
    _call.run("ctc_backward", dtype, (dy, x, *labels, alpha, dx), sizes)
    return dx, None, None, None
