"""Piecewise activations for PyTorch. Maths, choices and source: bpx/activations/piecewise.py."""

import torch

from bpx.activations import piecewise as spec
from bpx_torch._elementwise import row


def _clip(x, low, high):
    return x.clamp(low, high)


def _inside(dy, x, low, high):
    return torch.where((x <= low) | (x >= high), 0.0, dy)


def _hardswish(x):
    return torch.where(x <= -3, 0.0, torch.where(x >= 3, x, x * (x + 3) / 6))


def _dhardswish(dy, x):
    return torch.where(x <= -3, 0.0, torch.where(x >= 3, dy, dy * (x / 3 + 0.5)))


RELU = row(
    spec.relu,
    torch.relu,
    lambda dy, y: torch.where(y <= 0, 0.0, dy),
)
LEAKY_RELU = row(
    spec.leaky_relu,
    lambda x, above, negative_slope: torch.where(above, x, negative_slope * x),
    lambda dy, above, negative_slope: torch.where(above, dy, negative_slope * dy),
    mask=lambda x, negative_slope: x > 0,
)
RELU6 = row(spec.relu6, lambda x: _clip(x, 0.0, 6.0), lambda dy, y: _inside(dy, y, 0.0, 6.0))
HARDTANH = row(
    spec.hardtanh,
    lambda x, min_val, max_val: _clip(x, min_val, max_val),
    lambda dy, x, min_val, max_val: _inside(dy, x, min_val, max_val),
)
HARDSIGMOID = row(
    spec.hardsigmoid,
    lambda x: _clip((x + 3) / 6, 0.0, 1.0),
    lambda dy, x: _inside(dy, x, -3.0, 3.0) / 6,
)
HARDSWISH = row(spec.hardswish, _hardswish, _dhardswish)
RELU_SQUARED = row(
    spec.relu_squared,
    lambda x: torch.where(x <= 0, 0.0, x).square(),
    lambda dy, x: 2 * dy * torch.where(x <= 0, 0.0, x),
)

HARDSHRINK = row(
    spec.hardshrink,
    lambda x, lambd: torch.where(x.abs() <= lambd, 0.0, x),
    lambda dy, x, lambd: torch.where(x.abs() <= lambd, 0.0, dy),
)


def relu(x):
    """max(x, 0), element by element (any shape). Derivative at 0: 0."""
    return RELU(x)


def leaky_relu(x, *, negative_slope=0.01):
    """x (any shape) above 0, negative_slope x below. Derivative at 0: negative_slope."""
    return LEAKY_RELU(x, negative_slope=negative_slope)


def relu6(x):
    """x (any shape) clipped to [0, 6]. Derivative at both ends: 0."""
    return RELU6(x)


def hardtanh(x, *, min_val=-1.0, max_val=1.0):
    """x (any shape) clipped to [min_val, max_val]. Derivative at both ends: 0."""
    return HARDTANH(x, min_val=min_val, max_val=max_val)


def hardsigmoid(x):
    """x / 6 + 1/2 clipped to [0, 1] (any shape). Derivative at both ends: 0."""
    return HARDSIGMOID(x)


def hardswish(x):
    """x hardsigmoid(x), element by element (any shape). Derivative at -3: 0, at 3: 1."""
    return HARDSWISH(x)


def relu_squared(x):
    """max(x, 0)^2, element by element (any shape)."""
    return RELU_SQUARED(x)


def hardshrink(x, *, lambd=0.5):
    """x (any shape) where |x| > lambd, else 0. Derivative at both ends: 0."""
    return HARDSHRINK(x, lambd=lambd)


RULES = {
    rule.spec.name: rule
    for rule in (
        RELU,
        LEAKY_RELU,
        RELU6,
        HARDTANH,
        HARDSIGMOID,
        HARDSWISH,
        RELU_SQUARED,
        HARDSHRINK,
    )
}
