"""The native kernels of losses and what options they take, as both frameworks call them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

REDUCTIONS = {"none": 0, "sum": 1, "mean": 2}

Chosen = tuple[str, tuple[float, ...]]  # what follows the name of the kernel, and its three options


def ignoring(ignore_index: int | None) -> tuple[int, int]:
    """(whether a label is ignored, which); one that no integer type can hold is not."""
    if ignore_index is not None and -(2**63) <= ignore_index < 2**63:
        return 1, ignore_index
    return 0, 0


def divisor(shape: Sequence[int], reduction: str) -> int:
    """What a sum is divided by; 0 where there is none."""
    if reduction == "none":
        return 0
    if reduction == "batchmean":
        return shape[0]
    return math.prod(shape) if reduction == "mean" else 1


def numbers(*given: float, suffix: str = "") -> Chosen:
    return suffix, (*given, *(0.0,) * (3 - len(given)))


def poisson(log_input: bool, full: bool, eps: float) -> Chosen:
    return numbers(eps, suffix=("" if log_input else "_rate") + ("_full" if full else ""))


def focal(alpha: float | None, gamma: float) -> Chosen:
    suffix = "" if gamma in (0, 1, 2, 3) else "_any"
    return numbers(alpha or 0.0, float(alpha is not None), gamma, suffix=suffix)


# a sum of terms, element by element -> the kernel and its numbers, from the entry's options
TERMS: dict[str, Callable[..., Chosen]] = {
    "binary_cross_entropy": numbers,
    "binary_cross_entropy_with_logits": numbers,
    "kl_div": lambda log_target: numbers(suffix="_log" if log_target else ""),
    "poisson_nll": poisson,
    "gaussian_nll": lambda full, eps: numbers(eps, float(full)),
    "hinge_embedding": lambda margin: numbers(margin),
    "soft_margin": numbers,
    "margin_ranking": lambda margin: numbers(margin),
    "focal": focal,
}

# a function of x - target -> the option that it takes
DIFFERENCES = {"mse": "factor", "huber": "delta", "smooth_l1": "beta", "l1": None}


def options_of(name: str, options: dict[str, Any]) -> tuple[float]:
    """The number of a kernel in DIFFERENCES."""
    return (options.get(DIFFERENCES[name] or "", 0.0),)
