"""Shrinkage and thresholds for PyTorch. Maths, choices and source: bpx/activations/shrinkage.py."""

from math import factorial

import torch

from bpx.activations import shrinkage as spec
from bpx_torch._elementwise import row

# of x cosh x - sinh x in x^2, after x^3: 2k / (2k + 1)!
SERIES = [2 * k / factorial(2 * k + 1) for k in range(1, 10)]


def _tanhshrink(x):
    near = torch.where(x.abs() < 1, x, 0.0)
    square, series = near * near, torch.zeros_like(near)
    for coefficient in reversed(SERIES):
        series = series * square + coefficient
    return torch.where(x.abs() < 1, near * square * series / torch.cosh(near), x - torch.tanh(x))


SOFTSHRINK = row(
    spec.softshrink,
    lambda x, lambd: torch.where(x.abs() <= lambd, 0.0, torch.where(x < 0, x + lambd, x - lambd)),
    lambda dy, x, lambd: torch.where(x.abs() <= lambd, 0.0, dy),
)
TANHSHRINK = row(spec.tanhshrink, _tanhshrink, lambda dy, x: dy * torch.tanh(x).square())
THRESHOLD = row(
    spec.threshold,
    lambda x, below, threshold, value: torch.where(below, value, x),
    lambda dy, below, threshold, value: torch.where(below, 0.0, dy),
    mask=lambda x, threshold, value: x <= threshold,
)


def softshrink(x, *, lambd=0.5):
    """x (any shape) moved towards 0 by lambd, 0 within it. Derivative at both ends: 0."""
    return SOFTSHRINK(x, lambd=lambd)


def tanhshrink(x):
    """x - tanh(x), element by element (any shape)."""
    return TANHSHRINK(x)


def threshold(x, *, threshold=0.0, value=0.0):
    """x (any shape) above threshold, else value. Derivative at threshold: 0."""
    return THRESHOLD(x, threshold=threshold, value=value)


RULES = {rule.spec.name: rule for rule in (SOFTSHRINK, TANHSHRINK, THRESHOLD)}
