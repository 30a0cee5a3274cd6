"""Divergences, likelihoods and margins of torch.nn.functional over the rules of bpx, re-exported by
bpx_torch.functional.

Stated differences from torch: the mean over no elements, no labels that count or labels of weight 0
is 0 with gradient 0 (torch: NaN); class weights have a gradient (torch: none); in kl_div a target
of probability 0 adds 0 whatever the input and has derivative 0 (torch: NaN at -inf), and no warning
says that its "mean" divides by the number of elements; a target of hinge_embedding_loss,
soft_margin_loss and cosine_embedding_loss has a gradient (torch: none), and one of the first and
the last that is neither 1 nor -1 blends the two cases (torch: adds both, or neither); the loss of
soft_margin_loss does not overflow; negatives in var raise on the CPU in eager code alone, and
elsewhere count as eps; triplet_margin_loss has p = 2 alone; a label out of range on a GPU gives NaN
(torch: a device-side assertion).
"""

import torch
from torch.nn._reduction import legacy_get_string

from bpx.profiles import profiled
from bpx.spec import require
from bpx_torch import _functional_probabilities as _probabilities
from bpx_torch._functional_losses import _promoted, _reduction
from bpx_torch.losses import cosine_embedding as _cosine_embedding
from bpx_torch.losses import gaussian_nll as _gaussian_nll
from bpx_torch.losses import hinge_embedding as _hinge_embedding
from bpx_torch.losses import kl_div as _kl_div
from bpx_torch.losses import margin_ranking as _margin_ranking
from bpx_torch.losses import multi_margin as _multi_margin
from bpx_torch.losses import nll_loss as _nll_loss
from bpx_torch.losses import poisson_nll as _poisson_nll
from bpx_torch.losses import soft_margin as _soft_margin
from bpx_torch.losses import triplet_margin as _triplet_margin


@profiled("kl_div", beyond=("clip", "over_classes"))
def kl_div(
    input,
    target,
    size_average=None,
    reduce=None,
    reduction="mean",
    log_target=False,
    *,
    clip=None,
    over_classes=False,
):
    """clip: input and target are probabilities, taken within [clip, 1]. over_classes: a reduction
    other than "batchmean" is of the sums over the last axis."""
    if size_average is not None or reduce is not None:
        reduction = legacy_get_string(size_average, reduce)
    if clip is not None:
        require(not log_target, f"kl_div: clip is {clip} with log_target True, expected None")
        input = _probabilities.clipped(input, clip, 1.0).log()
        target = _probabilities.clipped(target, clip, 1.0)
    x, target = _beside(input, target)
    if over_classes and reduction != "batchmean":
        rows = _kl_div.kl_div(x, target, reduction="none", log_target=log_target).sum(-1)
        return _probabilities.over(rows, _reduction("kl_div", None, None, reduction))
    return _kl_div.kl_div(x, target, reduction=reduction, log_target=log_target)


def nll_loss(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """Classes lie along axis 1 of an input with more than one axis."""
    reduction = _reduction("nll_loss", size_average, reduce, reduction)
    x = input.movedim(1, -1) if input.ndim > 2 else input
    return _nll_loss.nll_loss(x, target, weight, ignore_index=ignore_index, reduction=reduction)


@profiled("poisson_nll")
def poisson_nll_loss(
    input,
    target,
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
):
    reduction = _reduction("poisson_nll_loss", size_average, reduce, reduction)
    x, target = _beside(input, target)
    return _poisson_nll.poisson_nll(
        x, target, log_input=log_input, full=full, eps=eps, reduction=reduction
    )


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """var: a number, the shape of input, that without the last axis, or 1 in its place."""
    if isinstance(var, float):
        require(var >= 0, f"gaussian_nll_loss: var is {var}, expected at least 0")
        var = torch.full_like(input, var)
    elif _values_can_be_seen(var):
        require(not (var < 0).any(), "gaussian_nll_loss: var holds negatives, expected none")
    if var.shape != input.shape and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    x, target = _beside(input, target)
    if var.shape != x.shape:
        unlike = [i for i, (a, b) in enumerate(zip(var.shape, x.shape, strict=False)) if a != b]
        require(
            var.ndim == x.ndim and len(unlike) == 1 and var.shape[unlike[0]] == 1,
            f"gaussian_nll_loss: var has shape {tuple(var.shape)}, expected {tuple(x.shape)}, with "
            "1 for at most one axis",
        )
    x, target, var = _beside(x, target, var)
    return _gaussian_nll.gaussian_nll(x, target, var, full=full, eps=eps, reduction=reduction)


def hinge_embedding_loss(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    reduction = _reduction("hinge_embedding_loss", size_average, reduce, reduction)
    x, target = _beside(input, _floating(target, input))
    return _hinge_embedding.hinge_embedding(x, target, margin=margin, reduction=reduction)


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    reduction = _reduction("soft_margin_loss", size_average, reduce, reduction)
    x, target = _beside(input, _floating(target, input))
    return _soft_margin.soft_margin(x, target, reduction=reduction)


def margin_ranking_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    reduction = _reduction("margin_ranking_loss", size_average, reduce, reduction)
    x1, x2, target = _beside(input1, input2, _floating(target, input1))
    return _margin_ranking.margin_ranking(x1, x2, target, margin=margin, reduction=reduction)


def multi_margin_loss(
    input,
    target,
    p=1,
    margin=1.0,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """Classes lie along the last axis of an input with one or two."""
    reduction = _reduction("multi_margin_loss", size_average, reduce, reduction)
    if input.ndim == 1 and target.ndim == 1 and len(target) == 1:
        target = target.reshape(())
    return _multi_margin.multi_margin(
        input, target, weight, p=p, margin=margin, reduction=reduction
    )


def cosine_embedding_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    reduction = _reduction("cosine_embedding_loss", size_average, reduce, reduction)
    x1, x2 = _beside(input1, input2)
    target = _floating(target, x1)
    return _cosine_embedding.cosine_embedding(x1, x2, target, margin=margin, reduction=reduction)


def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """p = 2 alone."""
    reduction = _reduction("triplet_margin_loss", size_average, reduce, reduction)
    require(p == 2, f"triplet_margin_loss: p is {p}, expected 2")
    return _triplet_margin.triplet_margin(
        *_beside(anchor, positive, negative),
        margin=margin,
        swap=swap,
        eps=eps,
        reduction=reduction,
    )


def _floating(target, like):
    """Labels 1 and -1 may be integers in torch."""
    return target if target.is_floating_point() else target.to(like.dtype)


def _values_can_be_seen(a):
    """Whether a look at the values neither waits for a device nor breaks a trace."""
    return (
        type(a) in (torch.Tensor, torch.nn.Parameter)
        and a.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def _beside(*arrays):
    """In one shape, and in the dtype torch would compute in."""
    first, *rest = torch.broadcast_tensors(*arrays)
    for a in rest:
        first, _ = _promoted(first, a)
    return (first, *(_promoted(first, a)[1] for a in rest))
