"""Convolutions whose error goes back through other filters, re-exported by bpx_torch.nn.

They derive from torch.nn's and take a batch; padding_mode is "zeros".
"""

import torch

from bpx.spec import one_of
from bpx_torch import surrogate as S
from bpx_torch._nn_surrogate import _drawn


def _options(module):
    one_of(type(module).__name__, "padding_mode", module.padding_mode, ("zeros",))
    names = ("stride", "padding", "dilation", "groups")
    return {name: getattr(module, name) for name in names}


class _FeedbackAlignment:
    """`feedback`, of weight's shape, is a buffer: drawn with the weights and never trained."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        fan_in = self.weight[0].numel()
        self.register_buffer("feedback", _drawn(self.weight.detach(), fan_in))

    def forward(self, input):
        arrays = input, self.weight, self.feedback, self.bias
        return S.conv_feedback_alignment(*arrays, **_options(self))


class _SignSymmetric:
    """The error goes back through scale sign(weight)."""

    def __init__(self, *args, scale=1.0, **options):
        super().__init__(*args, **options)
        self.scale = scale

    def forward(self, input):
        arrays = input, self.weight, self.bias
        return S.conv_sign_symmetric(*arrays, scale=self.scale, **_options(self))

    def extra_repr(self):
        return f"{super().extra_repr()}, scale={self.scale}"


class Conv1dFeedbackAlignment(_FeedbackAlignment, torch.nn.Conv1d):
    pass


class Conv2dFeedbackAlignment(_FeedbackAlignment, torch.nn.Conv2d):
    pass


class Conv3dFeedbackAlignment(_FeedbackAlignment, torch.nn.Conv3d):
    pass


class Conv1dSignSymmetric(_SignSymmetric, torch.nn.Conv1d):
    pass


class Conv2dSignSymmetric(_SignSymmetric, torch.nn.Conv2d):
    pass


class Conv3dSignSymmetric(_SignSymmetric, torch.nn.Conv3d):
    pass
