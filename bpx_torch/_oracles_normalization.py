"""torch's own normalisations, for bpx_torch/oracles.py."""

import torch
import torch.nn.functional as F


def _rms_norm(x, weight=None, *, eps=1e-6):
    return F.rms_norm(x, x.shape[-1:], weight, eps)


def _group_norm(x, weight=None, bias=None, *, num_groups=32, eps=1e-5):
    if weight is None and bias is not None:
        weight = torch.ones_like(bias)  # without, torch's backward of bias alone raises
    return F.group_norm(x, num_groups, weight, bias, eps)


def _batch_norm(
    x, weight=None, bias=None, running_mean=None, running_var=None, *, training=False, eps=1e-5
):
    if not training:  # no gradient for them in torch
        running_mean, running_var = running_mean.detach(), running_var.detach()
    return F.batch_norm(x, running_mean, running_var, weight, bias, training, 0.0, eps)


def _instance_norm(x, weight=None, bias=None, *, eps=1e-5):
    if not len(x):  # torch's own raises an IndexError
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    return F.instance_norm(x, None, None, weight, bias, eps=eps)


ORACLES = {
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
}

DIFFERS: dict[str, dict[str, str]] = {
    "rms_norm": {"one column": "rstd - x^2 rstd^3 cancels to nothing: rounding is left"},
}
