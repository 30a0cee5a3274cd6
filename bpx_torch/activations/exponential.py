"""Exponential units for PyTorch. Maths, choices and source: bpx/activations/exponential.py."""

import torch

from bpx.activations import exponential as spec
from bpx_torch._elementwise import row

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _below(x):
    """min(x, 0): the exponential of the branch that is not taken must not overflow."""
    return torch.where(x > 0, 0.0, x)


def _elu(x, alpha):
    return torch.where(x > 0, x, alpha * torch.expm1(_below(x)))


def _delu(dy, x, alpha):
    return torch.where(x > 0, dy, dy * alpha * torch.exp(_below(x)))


def _celu(x, alpha):
    return torch.where(x > 0, x, alpha * torch.expm1(_below(x) / alpha))


def _dcelu(dy, x, alpha):
    return torch.where(x > 0, dy, dy * torch.exp(_below(x) / alpha))


ELU = row(spec.elu, _elu, _delu)
SELU = row(
    spec.selu,
    lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
    lambda dy, x: SELU_SCALE * _delu(dy, x, SELU_ALPHA),
)
CELU = row(spec.celu, _celu, _dcelu)


def elu(x, *, alpha=1.0):
    """x (any shape) above 0, alpha (e^x - 1) below. Derivative at 0: alpha."""
    return ELU(x, alpha=alpha)


def selu(x):
    """Scaled elu of x (any shape), with the constants that keep mean 0 and variance 1."""
    return SELU(x)


def celu(x, *, alpha=1.0):
    """x (any shape) above 0, alpha (e^(x / alpha) - 1) below. Derivative at 0: 1."""
    return CELU(x, alpha=alpha)


RULES = {rule.spec.name: rule for rule in (ELU, SELU, CELU)}
