"""torch's own divergences, likelihoods, margins and contrasts, for bpx_torch/oracles.py."""

import math

import torch
import torch.nn.functional as F

_NAN_MEAN = "value: the mean over nothing is NaN in torch, 0 here"
_ZERO_LOG_ZERO = "value: 0 log 0 is NaN in torch, 0 here"
_ROUNDED_P = "1 - p loses its digits where p rounds towards 1"


def _kl_div(x, target, *, reduction="mean", log_target=False):
    if reduction == "mean":  # torch's own is this, and warns of it
        return F.kl_div(x, target, reduction="none", log_target=log_target).mean()
    return F.kl_div(x, target, reduction=reduction, log_target=log_target)


# torch refuses a loss whose weight asks for a gradient: without one, the weights get None
def _nll_loss(x, target, weight=None, *, ignore_index=-100, reduction="mean"):
    y = F.nll_loss(
        x.reshape(-1, x.shape[-1]),
        target.reshape(-1),
        None if weight is None else weight.detach(),
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
    )
    return y.reshape(target.shape) if reduction == "none" else y


def _poisson_nll(x, target, *, log_input=True, full=False, eps=1e-8, reduction="mean"):
    return F.poisson_nll_loss(x, target, log_input, full, eps=eps, reduction=reduction)


def _gaussian_nll(x, target, var, *, full=False, eps=1e-6, reduction="mean"):
    return F.gaussian_nll_loss(x, target, var, full=full, eps=eps, reduction=reduction)


def _soft_margin(x, target, *, reduction="mean"):
    return F.soft_margin_loss(x, target.detach(), reduction=reduction)


def _focal(logits, target, *, alpha=0.25, gamma=2.0, reduction="mean"):
    p = torch.sigmoid(logits)
    ce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = ce * ((1 - p) * target + p * (1 - target)) ** gamma
    if alpha is not None:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def _multi_margin(x, target, weight=None, *, p=1, margin=1.0, reduction="mean"):
    y = F.multi_margin_loss(
        x.reshape(-1, x.shape[-1]),
        target.reshape(-1),
        p,
        margin,
        None if weight is None else weight.detach(),
        reduction=reduction,
    )
    return y.reshape(target.shape) if reduction == "none" else y


def _cosine_embedding(x1, x2, target, *, margin=0.0, eps=1e-12, reduction="mean"):
    rows = [a.reshape(-1, a.shape[-1]) for a in (x1, x2)]
    y = F.cosine_embedding_loss(*rows, target.detach().reshape(-1), margin, reduction=reduction)
    return y.reshape(target.shape) if reduction == "none" else y


def _triplet_margin(
    anchor, positive, negative, *, margin=1.0, swap=False, eps=1e-6, reduction="mean"
):
    return F.triplet_margin_loss(
        anchor, positive, negative, margin, eps=eps, swap=swap, reduction=reduction
    )


# torch has neither of the next two: the usual formulations
def _jsd(x, target, *, reduction="mean"):
    logm = torch.logsumexp(torch.stack([x, target]), 0) - math.log(2)
    parts = [F.kl_div(logm, a, reduction="none", log_target=True).sum(-1) for a in (x, target)]
    loss = torch.stack(parts).mean(0)
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def _info_nce(query, key, *, temperature=1.0, reduction="mean"):
    own = torch.arange(len(query), device=query.device)
    return F.cross_entropy(query @ key.T / temperature, own, reduction=reduction)


ORACLES = {
    "kl_div": _kl_div,
    "nll_loss": _nll_loss,
    "poisson_nll": _poisson_nll,
    "gaussian_nll": _gaussian_nll,
    "hinge_embedding": F.hinge_embedding_loss,
    "soft_margin": _soft_margin,
    "focal": _focal,
    "triplet_margin": _triplet_margin,
    "jsd": _jsd,
    "info_nce": _info_nce,
    "multi_margin": _multi_margin,
    "cosine_embedding": _cosine_embedding,
    "margin_ranking": F.margin_ranking_loss,
}

DIFFERS: dict[str, dict[str, str]] = {
    "kl_div": {
        "empty mean": _NAN_MEAN,
        "empty batchmean": _NAN_MEAN,
        "absent": _ZERO_LOG_ZERO,
        "absent log": _ZERO_LOG_ZERO,
    },
    **{
        name: {"empty mean": _NAN_MEAN}
        for name in ("poisson_nll", "gaussian_nll", "soft_margin", "margin_ranking")
    },
    "hinge_embedding": {
        "empty mean": _NAN_MEAN,
        "between": "value: torch adds both parts of a target that is neither 1 nor -1",
    },
    "focal": {"empty mean": _NAN_MEAN, "wide": f"value: {_ROUNDED_P}"},
    "multi_margin": {"no rows": "value: torch leaves its output unwritten over an empty batch"},
    "cosine_embedding": {
        "no rows": _NAN_MEAN,
        "between": "value: 0 in torch for a target that is neither 1 nor -1; its eps is fixed",
    },
    "triplet_margin": {"no rows": _NAN_MEAN},
    "jsd": {"no rows": _NAN_MEAN, "absent": _ZERO_LOG_ZERO},
    "info_nce": {"no rows": _NAN_MEAN},
    "nll_loss": {"no rows": _NAN_MEAN, "all ignored": _NAN_MEAN},
}
