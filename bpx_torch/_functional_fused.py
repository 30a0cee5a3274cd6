"""linear_cross_entropy under torch's name, re-exported by bpx_torch.functional.

Stated differences from torch: labels beside (V D) weights are always taken in chunks of the
vocabulary, whatever `options` says, which shapes torch's own chunks of rows; the result can be
differentiated twice, backward called twice. Class probabilities and losses over more dims go
through linear and cross_entropy, logits in memory. What differs in a cross-entropy differs here.
"""

import math

import torch

from bpx.spec import SpecError
from bpx_torch import _functional_losses as _losses
from bpx_torch.fused import linear_cross_entropy as _linear_cross_entropy
from bpx_torch.layers import linear as _linear


def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """torch's; under autocast products are taken in its dtype, and the result is float32."""
    own = {"reduction": reduction, "label_smoothing": label_smoothing}
    probabilities = target.is_floating_point()
    if probabilities and ignore_index is not None:
        raise SpecError(
            f"linear_cross_entropy: ignore_index is {ignore_index}, expected None where target "
            "holds probabilities"
        )
    own["ignore_index"] = -100 if ignore_index is None else ignore_index
    if probabilities or linear_weight.ndim != 2:
        logits = _logits(input, linear_weight, linear_bias)
        return _losses.cross_entropy(logits, target, weight, **own)
    device = input.device.type
    if torch.is_autocast_enabled(device) and input.dtype != torch.float64:
        lower = torch.get_autocast_dtype(device)
        input, linear_weight = input.to(lower).float(), linear_weight.to(lower)
    with torch.autocast(device, enabled=False):
        return _linear_cross_entropy.linear_cross_entropy(
            input, linear_weight, target, linear_bias, weight, **own
        )


def _logits(input, weight, bias):
    """Classes lie along axis 1, the other dims of weight (classes, ..., features) after it."""
    rows = weight.reshape(math.prod(weight.shape[:-1]), weight.shape[-1])
    bias = None if bias is None else bias.reshape(rows.shape[0])
    z = _linear.linear(input, rows, bias)
    return z.reshape((*input.shape[:-1], *weight.shape[:-1]))
