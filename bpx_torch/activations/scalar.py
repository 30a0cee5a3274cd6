"""Scalar functions for PyTorch. Maths, choices and source: bpx/activations/scalar.py."""

import torch

from bpx.activations import scalar as spec
from bpx_torch._elementwise import row

SIN = row(spec.sin, torch.sin, lambda dy, x: dy * torch.cos(x))
EXP = row(spec.exp, torch.exp, lambda dy, y: dy * y, autocast={"cuda": "float32"})
COS = row(spec.cos, torch.cos, lambda dy, x: dy * -torch.sin(x))
SQUARE = row(spec.square, torch.square, lambda dy, x: 2 * dy * x, autocast={"cuda": "float32"})


def sin(x):
    """Sine of x (any shape), in radians. Derivative: cos(x)."""
    return SIN(x)


def exp(x):
    """e to the power of x (any shape). Derivative: the output."""
    return EXP(x)


def cos(x):
    """Cosine of x (any shape), in radians. Derivative: -sin(x)."""
    return COS(x)


def square(x):
    """x times x (any shape). Derivative: 2 x."""
    return SQUARE(x)


RULES = {rule.spec.name: rule for rule in (SIN, EXP, COS, SQUARE)}
