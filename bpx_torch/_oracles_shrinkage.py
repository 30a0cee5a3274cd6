"""torch's own shrinkage, and its algebraic activations by their formulas; merged in oracles.py."""

import torch
import torch.nn.functional as F


def _threshold(x, *, threshold=0.0, value=0.0):
    return F.threshold(x, threshold, value)


def _sparse_plus(x):
    return torch.where(x <= -1, 0.0, torch.where(x >= 1, x, (x + 1) ** 2 / 4))


def _squareplus(x, *, b=4.0):
    return (x + torch.sqrt(x * x + b)) / 2


ORACLES = {
    "softshrink": F.softshrink,
    "tanhshrink": F.tanhshrink,
    "threshold": _threshold,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda x: F.hardtanh((x + 1) / 2, 0.0, 1.0),
    "squareplus": _squareplus,
}

_CANCELS = "value: the difference loses the digits of y near 0"
_TAIL = "value: the sum loses the digits of y in the lower tail"

DIFFERS: dict[str, dict[str, str]] = {
    "tanhshrink": {case: _CANCELS for case in ("2d", "wide", "scalar", "tails")},
    "squareplus": {case: _TAIL for case in ("2d", "wide", "scalar", "tails", "loud b")},
}
