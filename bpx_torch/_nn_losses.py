"""The losses of torch.nn over the rules of bpx, re-exported by bpx_torch.nn.

Each derives from its namesake and replaces `forward` alone. What differs from torch is said in
bpx_torch/_functional_losses.py.
"""

import torch

from bpx_torch import _functional_losses as F
from bpx_torch._profiles import profiled_module


@profiled_module("mse")
class MSELoss(torch.nn.MSELoss):
    def forward(self, input, target):
        return F.mse_loss(input, target, reduction=self.reduction)


@profiled_module("l1")
class L1Loss(torch.nn.L1Loss):
    def forward(self, input, target):
        return F.l1_loss(input, target, reduction=self.reduction)


@profiled_module("huber")
class HuberLoss(torch.nn.HuberLoss):
    def forward(self, input, target):
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class SmoothL1Loss(torch.nn.SmoothL1Loss):
    def forward(self, input, target):
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


@profiled_module("binary_cross_entropy", keep=("clip",))
class BCELoss(torch.nn.BCELoss):
    clip = 0.0

    def forward(self, input, target):
        return F.binary_cross_entropy(
            input, target, self.weight, reduction=self.reduction, clip=self.clip
        )


@profiled_module("binary_cross_entropy_with_logits")
class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    def forward(self, input, target):
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


@profiled_module("cross_entropy", keep=("from_logits",))
class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    from_logits = True

    def forward(self, input, target):
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            from_logits=self.from_logits,
        )


_REASONS = {
    "a deprecated name of NLLLoss": "NLLLoss2d",
    "loss: not written yet": """MultiLabelMarginLoss""",
}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
