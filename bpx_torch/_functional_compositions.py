"""Functions of torch.nn.functional that are compositions of rules of bpx, re-exported by
bpx_torch.functional.

Between the rules stand sums, scalings and permutations of torch, whose gradients are torch's.
Stated differences from torch: alpha dropout draws its masks as dropout does here, from one key of
torch's generator, and a dropped NaN or infinity leaves no trace; rrelu draws a slope for positive
elements too.
"""

from contextlib import nullcontext
from math import sqrt

import torch

from bpx.layers.dropout import mask_shape
from bpx.spec import number, require
from bpx_torch._functional_losses import _reduction
from bpx_torch.activations import piecewise as _piecewise
from bpx_torch.layers import conv as _conv
from bpx_torch.layers import dropout as _dropout
from bpx_torch.layers import prelu as _prelu
from bpx_torch.layers import softmax as _softmax
from bpx_torch.losses import binary_cross_entropy_with_logits as _binary
from bpx_torch.losses import margin_ranking as _margin_ranking
from bpx_torch.losses import triplet_margin as _triplet_margin

# where selu is for -inf: scale alpha of Klambauer et al. 2017, arXiv:1706.02515
SATURATION = -1.7580993408473766


def conv_tbc(input, weight, bias, pad=0):
    """Time first: input (T B I), weight (K I O)."""
    x, w = input.permute(1, 2, 0), weight.permute(2, 1, 0)
    return _conv.conv(x, w, bias, padding=pad).permute(2, 0, 1)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """The noise is torch's; with hard=True the gradient is that of the soft samples."""
    noise = -torch.empty_like(logits).exponential_().log()
    soft = _softmax.softmax((logits + noise) / tau, dim=dim)
    if not hard:
        return soft
    one = torch.zeros_like(logits).scatter_(dim, soft.argmax(dim, keepdim=True), 1.0)
    return one - soft.detach() + soft


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    number("rrelu", "lower", lower)
    number("rrelu", "upper", upper)
    require(lower <= upper, f"rrelu: lower is {lower}, expected at most upper, {upper}")
    if not training:
        return _piecewise.leaky_relu(input, negative_slope=(lower + upper) / 2)
    slopes = torch.empty_like(input, requires_grad=False).uniform_(lower, upper).flatten()
    # every element a channel with a slope of its own; autocast lowers prelu, and not rrelu
    kind = input.device.type
    lowers = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    with torch.autocast(kind, enabled=False) if lowers else nullcontext():
        return _prelu.prelu(input.reshape(1, -1), slopes).view(input.shape)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    return _alpha_dropout("alpha_dropout", input, p, training, ())


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    require(
        input.ndim >= 2,
        f"feature_alpha_dropout: input has shape {tuple(input.shape)}, expected (N C *)",
    )
    return _alpha_dropout("feature_alpha_dropout", input, p, training, tuple(range(2, input.ndim)))


def _alpha_dropout(name, input, p, training, broadcast_dims):
    """Dropped elements become SATURATION; scaled and shifted to mean 0 and variance 1 for such an
    input."""
    number(name, "p", p)
    require(0 <= p <= 1, f"{name}: p is {p}, expected 0 <= p <= 1")
    if not training or p == 0 or not input.numel():
        return input
    key = torch.randint(0, 2**32, (2,), device=input.device).to(torch.uint32)
    options = {"p": p, "broadcast_dims": broadcast_dims}
    if p == 1:
        return _dropout.drawn(input, key, **options)
    # with k = 1 / (1 - p) where x is kept, else 0:  scale (k x + (1 - k) SATURATION)
    scale = (1 - p) / sqrt((1 - p) * (1 + p * SATURATION**2))
    if not broadcast_dims:  # or SATURATION + k (x - SATURATION)
        kept = _dropout.drawn(input - SATURATION, key, **options)
        return torch.add(kept.new_tensor(scale * SATURATION), kept, alpha=scale)
    shape = mask_shape(tuple(input.shape), broadcast_dims)
    bits = _dropout.keep_bits(key, shape, p=p)
    k = _dropout.dropout(input.new_ones(shape), bits, p=p)
    shift = (1 - k) * (scale * SATURATION)
    return torch.add(shift, _dropout.dropout(input, bits, **options), alpha=scale)


def multilabel_soft_margin_loss(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    reduction = _reduction("multilabel_soft_margin_loss", size_average, reduce, reduction)
    dtype = torch.promote_types(input.dtype, target.dtype)
    x, t = input.to(dtype), target.to(dtype)
    if reduction == "mean":
        loss = _binary.binary_cross_entropy_with_logits(x, t, weight)
    else:
        each = _binary.binary_cross_entropy_with_logits(x, t, weight, reduction="none")
        loss = each.mean(-1) if reduction == "none" else each.mean(-1).sum()
    return _kept(loss, dtype)


def triplet_margin_with_distance_loss(
    anchor,
    positive,
    negative,
    *,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
):
    """A distance_function of one's own has its own gradient."""
    if distance_function is None:
        a, b, c = torch.broadcast_tensors(anchor, positive, negative)
        loss = _triplet_margin.triplet_margin(
            a, b, c, margin=margin, swap=swap, reduction=reduction
        )
        dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), c.dtype)
        return _kept(loss, dtype)
    near, far = distance_function(anchor, positive), distance_function(anchor, negative)
    if swap:
        far = torch.minimum(far, distance_function(positive, negative))
    further = torch.ones_like(far)
    loss = _margin_ranking.margin_ranking(far, near, further, margin=margin, reduction=reduction)
    return _kept(loss, torch.promote_types(far.dtype, near.dtype))


def _kept(loss, dtype):
    """The loss in the dtype of its arguments, which autocast leaves to torch's operations for it
    on a CPU; the rule has computed in float32."""
    return loss.to(dtype) if loss.device.type == "cpu" else loss
