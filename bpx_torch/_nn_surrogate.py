"""Modules over the rules of bpx_torch.surrogate, re-exported by bpx_torch.nn. torch.nn has none of
them.

Feedback is a buffer: saved with the parameters, moved with them, and never trained. It is drawn
from torch's generator when the module is made, in the range of torch.nn.Linear's weights.
"""

import torch

from bpx.spec import SpecError
from bpx_torch import surrogate as S


class _Options(torch.nn.Module):
    """A module that is its options."""

    def __init__(self, **options):
        super().__init__()
        self.options = options

    def extra_repr(self):
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items())


def _through(free, clipped, input, clip, **options):
    """`clip` None hands every gradient through; a number, those where |x| <= clip."""
    if clip is None:
        return free(input, **options)
    return clipped(input, clip=clip, **options)


class StraightThroughSign(_Options):
    """1 where x >= 0, -1 below; dx = dy, with `clip` only where |x| <= clip."""

    def __init__(self, clip=None):
        super().__init__(clip=clip)

    def forward(self, input):
        rules = S.straight_through_sign, S.clipped_straight_through_sign
        return _through(*rules, input, **self.options)


class StraightThroughRound(_Options):
    """The nearest integer, halves to even; dx = dy, with `clip` only where |x| <= clip."""

    def __init__(self, clip=None):
        super().__init__(clip=clip)

    def forward(self, input):
        rules = S.straight_through_round, S.clipped_straight_through_round
        return _through(*rules, input, **self.options)


class StraightThroughBinarize(_Options):
    """1 where x >= threshold, 0 below; dx = dy, with `clip` only where |x - threshold| <= clip."""

    def __init__(self, threshold=0.0, clip=None):
        super().__init__(threshold=threshold, clip=clip)

    def forward(self, input):
        rules = S.straight_through_binarize, S.clipped_straight_through_binarize
        return _through(*rules, input, **self.options)


class SpikeFastSigmoid(_Options):
    """1 where x >= 0, 0 below; dx = dy / (1 + slope |x|)^2."""

    def __init__(self, slope=25.0):
        super().__init__(slope=slope)

    def forward(self, input):
        return S.spike_fast_sigmoid(input, **self.options)


class SpikeArctan(_Options):
    """1 where x >= 0, 0 below; dx = dy (alpha / 2) / (1 + (pi alpha x / 2)^2)."""

    def __init__(self, alpha=2.0):
        super().__init__(alpha=alpha)

    def forward(self, input):
        return S.spike_arctan(input, **self.options)


class SpikeTriangular(_Options):
    """1 where x >= 0, 0 below; dx = dy height max(0, 1 - |x| / width)."""

    def __init__(self, width=1.0, height=1.0):
        super().__init__(width=width, height=height)

    def forward(self, input):
        return S.spike_triangular(input, **self.options)


class GradientReversal(_Options):
    """Identity; dx = -factor dy."""

    def __init__(self, factor=1.0):
        super().__init__(factor=factor)

    def forward(self, input):
        return S.gradient_reversal(input, **self.options)


class GradientScale(_Options):
    """Identity; dx = factor dy."""

    def __init__(self, factor=1.0):
        super().__init__(factor=factor)

    def forward(self, input):
        return S.gradient_scale(input, **self.options)


class GradientClipValue(_Options):
    """Identity; dx = dy clipped to [-clip_value, clip_value]."""

    def __init__(self, clip_value=1.0):
        super().__init__(clip_value=clip_value)

    def forward(self, input):
        return S.gradient_clip_value(input, **self.options)


class GradientClipNorm(_Options):
    """Identity; dx = dy min(1, max_norm / |dy|), the norm over all or over the axes in `dim`."""

    def __init__(self, max_norm=1.0, dim=None):
        super().__init__(max_norm=max_norm, dim=dim)

    def forward(self, input):
        return S.gradient_clip_norm(input, **self.options)


def _drawn(like, fan_in):
    """A feedback for a weight: uniform, as torch.nn.Linear draws its weights."""
    bound = fan_in**-0.5 if fan_in else 0.0
    return torch.empty_like(like, requires_grad=False).uniform_(-bound, bound)


class LinearFeedbackAlignment(torch.nn.Linear):
    """torch.nn.Linear whose error goes back through the buffer `feedback`, of weight's shape."""

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        super().__init__(in_features, out_features, bias, device, dtype)
        self.register_buffer("feedback", _drawn(self.weight.detach(), in_features))

    def forward(self, input):
        return S.linear_feedback_alignment(input, self.weight, self.feedback, self.bias)


class LinearSignSymmetric(torch.nn.Linear):
    """torch.nn.Linear whose error goes back through scale sign(weight)."""

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None, *, scale=1.0):
        super().__init__(in_features, out_features, bias, device, dtype)
        self.scale = scale

    def forward(self, input):
        return S.linear_sign_symmetric(input, self.weight, self.bias, scale=self.scale)

    def extra_repr(self):
        return f"{super().extra_repr()}, scale={self.scale}"


class DirectFeedbackAlignment(torch.nn.Module):
    """The output's error for every hidden layer: output = module(output, h1, h2, ...).

    `hidden_features` are the sizes of the hidden layers, flattened behind the axes that they share
    with the output. Every layer takes its input detached: linear(h1.detach()) and so on.
    """

    def __init__(self, out_features, *hidden_features, device=None, dtype=None):
        super().__init__()
        self.out_features, self.hidden_features = out_features, hidden_features
        for i, size in enumerate(hidden_features, 1):
            like = torch.empty(out_features, size, device=device, dtype=dtype)
            self.register_buffer(f"feedback{i}", _drawn(like, out_features))

    def forward(self, output, *hidden):
        if len(hidden) != len(self.hidden_features):
            raise SpecError(
                f"direct_feedback_alignment: got {len(hidden)} hidden layers, "
                f"expected {len(self.hidden_features)}"
            )
        for i, h in enumerate(hidden, 1):
            flat = h.flatten(output.ndim - 1)
            output = S.direct_feedback_alignment(output, flat, getattr(self, f"feedback{i}"))
        return output

    def extra_repr(self):
        return ", ".join(map(str, (self.out_features, *self.hidden_features)))
