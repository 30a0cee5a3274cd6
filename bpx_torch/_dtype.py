"""Accumulation dtype, sums and inverse roots shared by the torch rules."""

import torch

from bpx.spec import SpecError


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """x itself in float32 or float64; half precision widened to float32, in which rules compute."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def sum_over(x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Sum over the axes; x itself when there are none (torch would sum over all of them)."""
    return x.sum(axes) if axes else x


def inverse_root(v: torch.Tensor) -> torch.Tensor:
    """1 / sqrt(v) of a variance, NaN where it overflowed: 0 would make zeros of its row with a
    zero gradient, without a word."""
    return torch.rsqrt(v).masked_fill(v.isinf(), torch.nan)


def finite(m: torch.Tensor) -> torch.Tensor:
    """-inf as 0: the largest of a row, or of a part of it, that has nothing else."""
    return m.masked_fill(m == -torch.inf, 0.0)


def one_dtype(entry: str, x: torch.Tensor, **others: torch.Tensor | None) -> None:
    """Raise unless the other arrays of a product have the dtype of x."""
    for name, a in others.items():
        if a is not None and a.dtype != x.dtype:
            raise SpecError(
                f"{entry}: {name} has dtype {a.dtype}, expected {x.dtype}, the dtype of x"
            )
