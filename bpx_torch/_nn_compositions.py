"""Modules of torch.nn over shrinkage, thresholds and compositions of rules, re-exported by
bpx_torch.nn.

Each derives from its namesake and replaces `forward` alone. What differs from torch is said in
bpx_torch/_functional_compositions.py.
"""

import torch

from bpx.spec import require
from bpx_torch import _functional_compositions as C
from bpx_torch import _functional_shrinkage as S
from bpx_torch import functional as F


class Softshrink(torch.nn.Softshrink):
    def forward(self, input):
        return S.softshrink(input, self.lambd)


class Tanhshrink(torch.nn.Tanhshrink):
    def forward(self, input):
        return S.tanhshrink(input)


class Threshold(torch.nn.Threshold):
    def forward(self, input):
        return S.threshold(input, self.threshold, self.value, self.inplace)


class RReLU(torch.nn.RReLU):
    def forward(self, input):
        return C.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Softmin(torch.nn.Softmin):
    def forward(self, input):
        return F.softmin(input, self.dim, _stacklevel=5)


class Softmax2d(torch.nn.Softmax2d):
    def forward(self, input):
        require(
            input.ndim in (3, 4),
            f"softmax2d: input has shape {tuple(input.shape)}, expected (N C H W) or (C H W)",
        )
        return F.softmax(input, -3)


class AlphaDropout(torch.nn.AlphaDropout):
    def forward(self, input):
        return C.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(torch.nn.FeatureAlphaDropout):
    def forward(self, input):
        return C.feature_alpha_dropout(input, self.p, self.training)


class MultiLabelSoftMarginLoss(torch.nn.MultiLabelSoftMarginLoss):
    def forward(self, input, target):
        return C.multilabel_soft_margin_loss(
            input, target, weight=self.weight, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(torch.nn.TripletMarginWithDistanceLoss):
    def forward(self, anchor, positive, negative):
        return C.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
