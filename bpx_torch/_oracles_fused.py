"""torch's linear layer and what it is fused with, one after the other, for bpx_torch/oracles.py."""

import torch
import torch.nn.functional as F


def _linear_cross_entropy(
    x,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    softcap=None,
    z_loss=0.0,
    num_items=None,
    chunk=4096,
):
    z = F.linear(x, weight, bias)
    z = z if softcap is None else softcap * torch.tanh(z / softcap)
    z, label = z.reshape(-1, z.shape[-1]), target.reshape(-1)
    cw = None if class_weight is None else class_weight.detach()  # torch has no gradient for it
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    if not z_loss and num_items is None and reduction != "none":  # what torch has whole
        return F.cross_entropy(z, label, cw, reduction=reduction, **options)
    loss = F.cross_entropy(z, label, cw, reduction="none", **options)
    keep = label != ignore_index
    wy = torch.ones_like(loss) if cw is None else cw[label.where(keep, 0)]
    wy = wy * keep
    loss = loss + z_loss * wy * torch.logsumexp(z, -1) ** 2
    if reduction == "none":
        return loss.reshape(target.shape)
    if reduction == "sum":
        return loss.sum()
    return loss.sum() / (wy.sum() if num_items is None else num_items)


_GATES = {
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda g: F.gelu(g, approximate="tanh"),
    "relu": F.relu,
}


def _gated_linear(x, gate, weight, bias=None, *, activation="silu"):
    return F.linear(x * _GATES[activation](gate), weight, bias)


ORACLES = {"linear_cross_entropy": _linear_cross_entropy, "gated_linear": _gated_linear}

_NAN_MEAN = "value: the mean over nothing is NaN in torch, 0 here"
DIFFERS: dict[str, dict[str, str]] = {
    "linear_cross_entropy": {"no rows": _NAN_MEAN, "all ignored": _NAN_MEAN}
}
