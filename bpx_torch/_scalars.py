"""Arithmetic with an option that is a Python number or a tensor of one element (`lr`, `betas`).

A tensor is never read on the host, so a step can be compiled or captured.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Number = float | Tensor


def number(x: Number) -> Number:
    """A Python number as it is, a tensor of one element without dims."""
    return x.reshape(()) if isinstance(x, Tensor) else x


def nonzero(x: Number) -> bool:
    """Whether a number may differ from 0; a tensor is not read."""
    return isinstance(x, Tensor) or x != 0


def unbiased(rate: Number, t: Number) -> Number:
    """1 - rate^t. On tensors as -expm1(t log rate), which does not cancel for small t."""
    if not isinstance(t, Tensor) and not isinstance(rate, Tensor):
        return 1 - rate**t
    log = rate.log() if isinstance(rate, Tensor) else math.log(rate) if rate > 0 else -math.inf
    return -torch.expm1(t * log)


def add_scaled(x: Tensor, y: Tensor, scale: Number) -> Tensor:
    """x + scale * y, a new tensor."""
    return x + y * scale if isinstance(scale, Tensor) else x.add(y, alpha=scale)


def mix_(mean: Tensor, x: Tensor, rate: Number) -> None:
    """mean <- rate * mean + (1 - rate) * x."""
    if isinstance(rate, Tensor):
        mean.mul_(rate).add_(x * (1 - rate))
    else:
        mean.lerp_(x, 1 - rate)


def mix_square_(mean: Tensor, x: Tensor, rate: Number) -> None:
    """mean <- rate * mean + (1 - rate) * x^2."""
    if isinstance(rate, Tensor):
        mean.mul_(rate).add_(x * x * (1 - rate))
    else:
        mean.mul_(rate).addcmul_(x, x, value=1 - rate)


def descend_(p: Tensor, d: Tensor, size: Number) -> None:
    """p <- p - size * d."""
    if isinstance(size, Tensor):
        p.sub_(d * size)
    else:
        p.add_(d, alpha=-size)


def descend_quotient_(p: Tensor, a: Tensor, b: Tensor, size: Number) -> None:
    """p <- p - size * a / b."""
    if isinstance(size, Tensor):
        p.sub_(a / b * size)
    else:
        p.addcdiv_(a, b, value=-size)


def exact(count: Tensor) -> Tensor:
    """A step count for arithmetic as exact as a Python number's, where the device has float64."""
    return count if count.device.type == "mps" else count.double()
