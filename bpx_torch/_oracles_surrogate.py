"""The rules of bpx/surrogate/ by the usual means in torch: the value detached, and the gradient of
something else that adds zero."""

import math

import torch
import torch.nn.functional as F

from bpx_torch._oracles_conv import ORACLES as _CONV

_conv = _CONV["conv"]


def _value_of(value, slope_of):
    """value, with the derivative of slope_of."""
    return value.detach() + (slope_of - slope_of.detach())


def _sign(x):
    return torch.where(x >= 0, 1.0, -1.0)


def _spike(x, threshold=0.0):
    return torch.where(x >= threshold, 1.0, 0.0)


def _inside(x, clip):
    return F.hardtanh(x, -clip, clip)


def _fast_sigmoid(x, *, slope=25.0):
    return _value_of(_spike(x), -x.sign() / (slope * (1 + slope * x.abs())))


def _arctan(x, *, alpha=2.0):
    return _value_of(_spike(x), torch.atan(math.pi / 2 * alpha * x) / math.pi)


def _triangular(x, *, width=1.0, height=1.0):
    near = x.clamp(-width, width)
    return _value_of(_spike(x), height * (near - near * near.abs() / (2 * width)))


def _hooked(x, change):
    y = x.clone()
    if y.requires_grad:
        y.register_hook(change)
    return y


def _clip_norm(x, *, max_norm=1.0, dim=None):
    def change(dy):
        norm = torch.linalg.vector_norm(dy, dim=dim, keepdim=True)
        return dy * (max_norm / norm).clamp(max=1.0)

    return _hooked(x, change)


def _sign_symmetric(of, x, weight, bias, scale, **options):
    back = of(x, (scale * weight.sign()).detach(), None, **options)
    return of(x.detach(), weight, bias, **options) + (back - back.detach())


def _feedback(of, x, weight, feedback, bias, **options):
    back = of(x, feedback.detach(), None, **options)
    return of(x.detach(), weight, bias, **options) + (back - back.detach())


def _direct(x, h, feedback):
    back = h @ feedback.detach().T
    return x + (back - back.detach())


ORACLES = {
    "straight_through_sign": lambda x: _value_of(_sign(x), x),
    "straight_through_round": lambda x: _value_of(x.round(), x),
    "straight_through_binarize": lambda x, threshold=0.0: _value_of(_spike(x, threshold), x),
    "clipped_straight_through_sign": lambda x, clip=1.0: _value_of(_sign(x), _inside(x, clip)),
    "clipped_straight_through_round": lambda x, clip=1.0: _value_of(x.round(), _inside(x, clip)),
    "clipped_straight_through_binarize": lambda x, threshold=0.0, clip=1.0: _value_of(
        _spike(x, threshold), _inside(x - threshold, clip)
    ),
    "spike_fast_sigmoid": _fast_sigmoid,
    "spike_arctan": _arctan,
    "spike_triangular": _triangular,
    "gradient_reversal": lambda x, factor=1.0: _value_of(x, -factor * x),
    "gradient_scale": lambda x, factor=1.0: _value_of(x, factor * x),
    "gradient_clip_value": lambda x, clip_value=1.0: _hooked(
        x, lambda dy: dy.clamp(-clip_value, clip_value)
    ),
    "gradient_clip_norm": _clip_norm,
    "linear_feedback_alignment": lambda x, weight, feedback, bias=None: _feedback(
        F.linear, x, weight, feedback, bias
    ),
    "linear_sign_symmetric": lambda x, weight, bias=None, scale=1.0: _sign_symmetric(
        F.linear, x, weight, bias, scale
    ),
    "conv_feedback_alignment": lambda x, weight, feedback, bias=None, **options: _feedback(
        _conv, x, weight, feedback, bias, **options
    ),
    "conv_sign_symmetric": lambda x, weight, bias=None, scale=1.0, **options: _sign_symmetric(
        _conv, x, weight, bias, scale, **options
    ),
    "direct_feedback_alignment": _direct,
}

DIFFERS: dict[str, dict[str, str]] = {}
