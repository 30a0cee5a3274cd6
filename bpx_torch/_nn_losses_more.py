"""Divergences, likelihoods and margins of torch.nn over the rules of bpx, re-exported by
bpx_torch.nn.

Each derives from its namesake and replaces `forward` alone. What differs from torch is said in
bpx_torch/_functional_losses_more.py.
"""

import torch

from bpx_torch import _functional_losses_more as F
from bpx_torch._profiles import profiled_module


@profiled_module("kl_div", keep=("clip", "over_classes"))
class KLDivLoss(torch.nn.KLDivLoss):
    clip, over_classes = None, False

    def forward(self, input, target):
        return F.kl_div(
            input,
            target,
            reduction=self.reduction,
            log_target=self.log_target,
            clip=self.clip,
            over_classes=self.over_classes,
        )


class NLLLoss(torch.nn.NLLLoss):
    def forward(self, input, target):
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


@profiled_module("poisson_nll")
class PoissonNLLLoss(torch.nn.PoissonNLLLoss):
    def forward(self, log_input, target):
        return F.poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class GaussianNLLLoss(torch.nn.GaussianNLLLoss):
    def forward(self, input, target, var):
        return F.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )


class HingeEmbeddingLoss(torch.nn.HingeEmbeddingLoss):
    def forward(self, input, target):
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class SoftMarginLoss(torch.nn.SoftMarginLoss):
    def forward(self, input, target):
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MarginRankingLoss(torch.nn.MarginRankingLoss):
    def forward(self, input1, input2, target):
        return F.margin_ranking_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class MultiMarginLoss(torch.nn.MultiMarginLoss):
    def forward(self, input, target):
        return F.multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
        )


class CosineEmbeddingLoss(torch.nn.CosineEmbeddingLoss):
    def forward(self, input1, input2, target):
        return F.cosine_embedding_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class TripletMarginLoss(torch.nn.TripletMarginLoss):
    def forward(self, anchor, positive, negative):
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )
