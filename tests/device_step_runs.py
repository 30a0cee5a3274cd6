"""Optimizers stepped by the GPU's kernel, in Triton's interpreter, beside the loop's."""

from __future__ import annotations

from typing import Any

import torch

from bpx.rule import use
from bpx_torch import OPTIMIZERS
from tests.test_native_step import EPS as KNOWN
from tests.test_native_step import leaves

BLOCK = 64  # what the tests make a block
SHAPES = ((), (1,), (63,), (64,), (65,), (13, 15))
EPS = {**KNOWN, torch.float16: 2.0**-11}


def beside(name: str, dtype: torch.dtype, **options: Any) -> tuple[Any, ...]:
    fused, plain = leaves(dtype, SHAPES), leaves(dtype, SHAPES)
    one = OPTIMIZERS[name](fused, **options)
    return one, OPTIMIZERS[name](plain, foreach=False, **options), [*zip(fused, plain, strict=True)]


def advance(optimizer: Any) -> None:
    with use("triton", interpret=True):
        optimizer.step()
