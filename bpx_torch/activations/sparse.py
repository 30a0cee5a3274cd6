"""Algebraic relatives of softplus and sigmoid for PyTorch. Maths, choices and source:
bpx/activations/sparse.py."""

from math import sqrt

import torch

from bpx.activations import sparse as spec
from bpx_torch._elementwise import row


def _root(x, b):
    # hypot: x * x would overflow
    return torch.hypot(x, torch.full_like(x, sqrt(b)))


def _squareplus(x, b):
    root = _root(x, b)
    below = 0.25 * b / (0.5 * root - torch.where(x < 0, 0.5 * x, 0.0))
    return torch.where(x < 0, below, 0.5 * x + 0.5 * root)


def _dsquareplus(dy, x, b):
    # (1 + x / r) / 2; below 0 it is b / (2 r (r - x)), without a difference
    root = _root(x, b)
    below = b / (2 * root) / (root - torch.where(x < 0, x, 0.0))
    return dy * torch.where(x < 0, below, 0.5 + 0.5 * (x / root))


SPARSE_PLUS = row(
    spec.sparse_plus,
    lambda x: torch.where(x <= -1, 0.0, torch.where(x >= 1, x, (x + 1).square() / 4)),
    lambda dy, x: dy * (0.5 * x + 0.5).clamp(0.0, 1.0),
)
SPARSE_SIGMOID = row(
    spec.sparse_sigmoid,
    lambda x: (0.5 * x + 0.5).clamp(0.0, 1.0),
    lambda dy, x: torch.where((x <= -1) | (x >= 1), 0.0, 0.5 * dy),
)
SQUAREPLUS = row(spec.squareplus, _squareplus, _dsquareplus)


def sparse_plus(x):
    """(x + 1)^2 / 4 between -1 and 1, 0 below and x above (any shape)."""
    return SPARSE_PLUS(x)


def sparse_sigmoid(x):
    """(x + 1) / 2 clipped to [0, 1] (any shape). Derivative at both ends: 0."""
    return SPARSE_SIGMOID(x)


def squareplus(x, *, b=4.0):
    """(x + sqrt(x^2 + b)) / 2, element by element (any shape)."""
    return SQUAREPLUS(x, b=b)


RULES = {rule.spec.name: rule for rule in (SPARSE_PLUS, SPARSE_SIGMOID, SQUAREPLUS)}
