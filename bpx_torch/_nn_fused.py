"""torch.nn.LinearCrossEntropyLoss over the rules of bpx, re-exported by bpx_torch.nn.

It derives from its namesake and replaces `forward` alone. What differs from torch is said in
bpx_torch/_functional_fused.py.
"""

from typing import Any

import torch

from bpx_torch import _functional_fused as F

# torch.nn has it from 2.13 on; before, it cannot be made
BASE: Any = getattr(torch.nn, "LinearCrossEntropyLoss", torch.nn.Module)


class LinearCrossEntropyLoss(BASE):
    def forward(self, input, target):
        shape, bias = (self.num_classes, *self.out_features), self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape((*shape, self.linear.in_features)),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )
