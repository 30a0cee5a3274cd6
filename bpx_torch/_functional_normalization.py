"""The normalisations of torch.nn.functional over the rules of bpx, re-exported by
bpx_torch.functional.

Stated differences from torch: eps is above 0 (torch: anything); group_norm takes one group of one
value in all, and gives bias (torch: an error). batch_norm copies the running statistics that it
normalizes by, so that a later training step may update them before backward.
"""

import math

import torch

from bpx.profiles import profiled
from bpx.spec import SpecError
from bpx_torch.layers import batch_norm as _batch_norm
from bpx_torch.layers import group_norm as _group_norm
from bpx_torch.layers import instance_norm as _instance_norm
from bpx_torch.layers import rms_norm as _rms_norm


@profiled("rms_norm")
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """Over the last len(normalized_shape) axes, which the rule sees as one; eps=None is the machine
    epsilon of the dtype computed in, float32 for half precision."""
    shape = tuple(normalized_shape)
    n = len(shape)
    if not n or tuple(input.shape[-n:]) != shape:
        raise SpecError(
            f"rms_norm: normalized_shape is {shape}, expected the last dims of x, which has "
            f"shape {tuple(input.shape)}"
        )
    if weight is not None and tuple(weight.shape) != shape:
        raise SpecError(f"rms_norm: weight has shape {tuple(weight.shape)}, expected {shape}")
    if eps is None:
        eps = torch.finfo(torch.promote_types(input.dtype, torch.float32)).eps
    if n == 1:
        return _rms_norm.rms_norm(input, weight, eps=eps)
    features = math.prod(shape)
    rows = input.reshape((*input.shape[:-n], features))
    weight = None if weight is None else weight.reshape(features)
    return _rms_norm.rms_norm(rows, weight, eps=eps).reshape(input.shape)


@profiled("group_norm")
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    return _group_norm.group_norm(input, weight, bias, num_groups=num_groups, eps=eps)


@profiled("batch_norm", beyond=("of_batch", "unbiased"))
def batch_norm(
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
    *,
    of_batch=True,
    unbiased=True,
):
    """In training the running statistics move towards those of the batch by momentum (a number or a
    scalar tensor), or by 1 - momentum where of_batch is False: momentum is then the share of the
    old value. The variance kept is divided by N - 1, or by N where unbiased is False."""
    if not training:
        return _inference(input, running_mean, running_var, weight, bias, eps)
    if running_mean is None and running_var is None:
        return _batch_norm.batch_norm(input, weight, bias, training=True, eps=eps)
    y, (mean, _, var) = _batch_norm.RULE.with_residuals(
        input, weight, bias, None, None, training=True, eps=eps
    )
    values = input.numel() // max(input.shape[1], 1)
    if values:
        share = momentum if of_batch else 1 - momentum
        ratio = values / (values - 1) if unbiased else 1
        _move(running_mean, running_var, mean, var, ratio, share)
    return y


@profiled("instance_norm")
def instance_norm(
    input,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
):
    """With use_input_stats the running statistics move by momentum towards the batch's average of
    those of its samples, the variance unbiased; without, they normalize."""
    if not use_input_stats:
        return _inference(input, running_mean, running_var, weight, bias, eps)
    if running_mean is None and running_var is None:
        return _instance_norm.instance_norm(input, weight, bias, eps=eps)
    y, (mean, _, var) = _instance_norm.RULE.with_residuals(input, weight, bias, eps=eps)
    if input.numel():
        values = math.prod(input.shape[2:])
        ratio = values / (values - 1)
        _move(running_mean, running_var, mean.mean(0), var.mean(0), ratio, momentum)
    return y


def _inference(input, running_mean, running_var, weight, bias, eps):
    if torch.is_grad_enabled():
        running_mean = None if running_mean is None else running_mean.clone()
        running_var = None if running_var is None else running_var.clone()
    return _batch_norm.batch_norm(input, weight, bias, running_mean, running_var, eps=eps)


@torch.no_grad()
def _move(running_mean, running_var, mean, var, ratio, momentum):
    """running + momentum (batch - running), in place; the variance of the batch is ratio var."""
    for running, batch in ((running_mean, mean), (running_var, var)):
        if running is None:
            continue
        if batch is var and ratio != 1:
            batch = batch * ratio
        if batch.dtype != running.dtype:
            batch = batch.to(running.dtype)
        if isinstance(momentum, torch.Tensor):
            momentum = momentum.to(running.dtype)
        running.lerp_(batch, momentum)
