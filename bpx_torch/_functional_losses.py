"""The losses of torch.nn.functional over the rules of bpx, re-exported by bpx_torch.functional.

Stated differences from torch: the mean over no elements, no labels that count or labels of weight 0
is 0 with gradient 0 (torch: NaN); weights have a gradient (torch: none for class weights, the
weight of binary_cross_entropy* and pos_weight); probabilities outside [0, 1] give NaN (torch: an
error on the CPU); a class of probability 0 whose logit is -inf adds 0 to a cross-entropy (torch:
NaN); a label out of range on a GPU gives NaN (torch: a device-side assertion). The two cross-
entropies over labels and probabilities are told apart by the dtype of target.
"""

import warnings

import torch
from torch.nn._reduction import legacy_get_string

from bpx.losses._reduction import REDUCTIONS
from bpx.profiles import profiled
from bpx.spec import SpecError, one_of
from bpx_torch import _functional_probabilities as _probabilities
from bpx_torch.losses import binary_cross_entropy as _binary_cross_entropy
from bpx_torch.losses import binary_cross_entropy_with_logits as _binary_cross_entropy_with_logits
from bpx_torch.losses import cross_entropy as _cross_entropy
from bpx_torch.losses import huber as _huber
from bpx_torch.losses import l1 as _l1
from bpx_torch.losses import mse as _mse
from bpx_torch.losses import smooth_l1 as _smooth_l1
from bpx_torch.losses import soft_cross_entropy as _soft_cross_entropy


@profiled("mse")
def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    reduction = _reduction("mse_loss", size_average, reduce, reduction)
    return _difference("mse_loss", _mse.mse, input, target, reduction, weight)


@profiled("l1")
def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    reduction = _reduction("l1_loss", size_average, reduce, reduction)
    return _difference("l1_loss", _l1.l1, input, target, reduction, weight)


@profiled("huber")
def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """With weight the mean divides by the number of elements, unlike mse_loss and l1_loss."""
    reduction = _reduction("huber_loss", None, None, reduction)
    if weight is not None and reduction == "mean":
        loss = _difference("huber_loss", _huber.huber, input, target, "none", weight, delta=delta)
        return loss.sum() / max(loss.numel(), 1)
    return _difference("huber_loss", _huber.huber, input, target, reduction, weight, delta=delta)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    reduction = _reduction("smooth_l1_loss", size_average, reduce, reduction)
    return _difference("smooth_l1_loss", _smooth_l1.smooth_l1, input, target, reduction, beta=beta)


@profiled("binary_cross_entropy", beyond=("clip",))
def binary_cross_entropy(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", *, clip=0.0
):
    """clip: probabilities are taken within [clip, 1 - clip], with slope 0 outside."""
    reduction = _reduction("binary_cross_entropy", size_average, reduce, reduction)
    input, target = _promoted(_probabilities.clipped(input, clip), target)
    return _binary_cross_entropy.binary_cross_entropy(input, target, weight, reduction=reduction)


@profiled("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input,
    target,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
    pos_weight=None,
):
    reduction = _reduction("binary_cross_entropy_with_logits", size_average, reduce, reduction)
    input, target = _promoted(input, target)
    return _binary_cross_entropy_with_logits.binary_cross_entropy_with_logits(
        input, target, weight, pos_weight, reduction=reduction
    )


@profiled("cross_entropy", beyond=("from_logits",))
def cross_entropy(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
    *,
    from_logits=True,
):
    """Classes lie along axis 1 of an input with more than one axis. from_logits=False: they are
    probabilities."""
    reduction = _reduction("cross_entropy", size_average, reduce, reduction)
    logits = input.movedim(1, -1) if input.ndim > 2 else input
    if not from_logits:
        same = input.ndim > 2 and target.ndim == input.ndim
        target = target.movedim(1, -1) if same else target
        given = (weight, ignore_index, reduction, label_smoothing)
        return _probabilities.cross_entropy(logits, target, *given)
    if not target.is_floating_point():
        return _cross_entropy.cross_entropy(
            logits,
            target,
            weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
    if ignore_index is not None and ignore_index >= 0:
        raise SpecError(
            f"cross_entropy: ignore_index is {ignore_index}, expected a negative one where target "
            "holds probabilities"
        )
    target = target.movedim(1, -1) if input.ndim > 2 and target.ndim == input.ndim else target
    logits, target = _promoted(logits, target)
    return _soft_cross_entropy.soft_cross_entropy(
        logits, target, weight, reduction=reduction, label_smoothing=label_smoothing
    )


def _reduction(entry, size_average, reduce, reduction):
    if size_average is not None or reduce is not None:
        reduction = legacy_get_string(size_average, reduce)
    one_of(entry, "reduction", reduction, REDUCTIONS)
    return reduction


def _promoted(a, b):
    """Both in the dtype torch would compute in: labels as numbers in that of the others."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    if a.dtype == b.dtype or not dtype.is_floating_point:
        return a, b
    return a.to(dtype), b.to(dtype)


def _difference(entry, rule, input, target, reduction, weight=None, **options):
    if target.shape != input.shape:
        warnings.warn(
            f"{entry}: target has shape {tuple(target.shape)}, input {tuple(input.shape)}; they "
            "broadcast, which is seldom meant",
            stacklevel=3,
        )
    if weight is not None and weight.shape != input.shape:
        raise SpecError(
            f"{entry}: weight has shape {tuple(weight.shape)}, expected {tuple(input.shape)}"
        )
    x, target = _promoted(*torch.broadcast_tensors(input, target))
    if weight is None:
        return rule(x, target, reduction=reduction, **options)
    loss = rule(x, target, reduction="none", **options) * weight
    if reduction == "none":
        return loss
    return loss.sum() / weight.sum() if reduction == "mean" else loss.sum()


_REASONS = {
    "loss: not written yet": """multilabel_margin_loss""",
}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
