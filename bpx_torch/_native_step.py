"""A step over many tensors as one call of the native core: one pass over each element.

Maths, options and sources are the optimizers'; the kernels are bpx/native/step_*.c.
"""

from __future__ import annotations

import struct
from array import array
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from bpx import native
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.cpu import _pool
from bpx_torch.kernels.cpu._call import NAMES, arithmetic

# the bits of bpx/native/optimizer_steps.h
MAXIMIZE, DECOUPLED, NESTEROV, LR_INSIDE, EPS_INSIDE = 1, 2, 4, 8, 16
AMSGRAD, CORRECTED, EPS_HAT, CENTERED, MOMENTUM = 32, 64, 128, 256, 512
EPS_OUTSIDE = 1024
STATES, NUMBERS = 3, 10
COUNTS = {torch.float32: 4, torch.float64: 8}
PLAIN = {Tensor, torch.nn.Parameter}
_pack = struct.Struct(f"4q{NUMBERS}d").pack
_dtype_of = torch.Tensor.dtype.__get__


class Native(NamedTuple):
    """How an optimizer's step is called: its kernel, its arrays of state in order, its flags among
    those above, the numbers of the group in the kernel's order."""

    kernel: str
    states: tuple[str | None, ...]
    flags: int
    numbers: tuple[float, ...]


def bits(group: dict[str, Any], *chosen: tuple[Any, int]) -> int:
    """The flags of a group: the given ones, where true, and those that many optimizers have."""
    flags = MAXIMIZE * bool(group.get("maximize"))
    flags |= DECOUPLED * bool(group.get("decoupled_weight_decay"))
    for value, flag in chosen:
        flags |= flag * bool(value)
    return flags


class Held:
    """The state of a group that the core can take, as it was last looked at: the very tensors, the
    number of elements of each, and the bytes of a step count."""

    def __init__(self) -> None:
        self.arrays: list[Tensor] = []
        self.sizes: list[int] = []
        self.count_bytes = 0

    def refuses(
        self, columns: list[list[Any]], counts: list[Any], sizes: list[int], dtype: torch.dtype
    ) -> str | None:
        """None, or why the core cannot take these. Tensors that were looked at before are not
        looked at again: as long as the caller finds them at an address, they are what they were."""
        arrays = [*chain.from_iterable(columns), *counts]
        if self.sizes == sizes and len(arrays) == len(self.arrays):
            if all(map(is_, arrays, self.arrays)):
                return None
        self.arrays = []
        wanted = arithmetic(dtype)
        for a in arrays:
            if type(a) not in PLAIN or not a.is_cpu or not a.is_contiguous():
                return "a state is missing, or not a contiguous tensor on the CPU"
        for column in columns:
            if any(a.dtype != wanted for a in column) or [a.numel() for a in column] != sizes:
                return f"a state is not {wanted}, or not of its parameter's size"
        dtypes = {a.dtype for a in counts}
        if counts and (len(dtypes) > 1 or not dtypes <= COUNTS.keys()):
            return "the step counts are not of one dtype"
        self.count_bytes = COUNTS[dtypes.pop()] if counts else 0
        self.arrays, self.sizes = arrays, sizes
        return None


def run(
    call: Native, ps: list[Any], gs: list[Any], states: list[Any], counts: bool, held: Held
) -> str | None:
    """Step parameters of one device and dtype, and count the step. A reason and nothing done where
    the core cannot take them."""
    if (reason := native.available() or _opaque.refuses(())) is not None:
        return reason
    dtype = ps[0].dtype
    if dtype not in NAMES or not ps[0].is_cpu:
        return f"it takes float32, float64 and bfloat16 on a CPU, not {dtype} on {ps[0].device}"
    moved = [*ps, *gs]
    if not {*map(type, moved)} <= PLAIN:
        return "a parameter or gradient is of a subclass of Tensor"
    if [*map(_dtype_of, moved)].count(dtype) != len(moved):
        return "the parameters and gradients are not of one dtype"
    if not all(map(Tensor.is_contiguous, moved)) or any(map(Tensor.is_neg, gs)):
        return "a parameter or gradient is not contiguous"
    sizes = [*map(Tensor.numel, ps)]
    if [*map(Tensor.numel, gs)] != sizes:
        return "a gradient has another size than its parameter"
    columns = [[s.get(key) for s in states] for key in call.states if key is not None]
    steps = [s["step"] for s in states] if counts else []
    if (reason := held.refuses(columns, steps, sizes, dtype)) is not None:
        return reason
    at = [*map(Tensor.data_ptr, moved)]
    if 0 in at or len({*at[: len(ps)]}) != len(ps):
        return "a parameter has no elements, or is given twice"
    none = [0] * len(ps)
    found = iter(columns)
    for key in call.states:
        at += none if key is None else map(Tensor.data_ptr, next(found))
    at += none * (STATES - len(call.states))
    at += map(Tensor.data_ptr, steps) if counts else none
    table = array("q", at + sizes)
    where = (table.buffer_info()[0], len(ps), held.count_bytes, call.flags)
    packed = _pack(*where, *call.numbers, *[0.0] * (NUMBERS - len(call.numbers)))
    native.check(native.kernel(f"{call.kernel}_{NAMES[dtype]}")(packed, *_pool.parallel_for()))
    moved = ps + held.arrays[: len(held.arrays) - len(steps)]
    increment_version(moved)  # or autograd would not see that they moved
    return None
