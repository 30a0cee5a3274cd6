"""A step over many tensors as one call of the native core: one pass over each element.

Maths, options and sources are the optimizers'; the kernels are bpx/native/step_*.c. On a GPU the
same calls are taken by _device_step.py.
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
CORE = frozenset("adam sgd lion rmsprop adagrad adadelta adamax".split())  # of bpx/native/step_*.c
COUNTS = {torch.float32: 4, torch.float64: 8}
PLAIN = {Tensor, torch.nn.Parameter}
SUBCLASS = "a parameter or gradient is of a subclass of Tensor"
MIXED = "the parameters and gradients are not of one dtype"
_pack = struct.Struct(f"4q{NUMBERS}d").pack
_dtype_of = torch.Tensor.dtype.__get__


class Native(NamedTuple):
    """How an optimizer's step is called: its kernel, its arrays of state in order, its flags among
    those above, the numbers of the group in the kernel's order. The core has not every kernel."""

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
    """What a group was last stepped with, looked at: the very tensors, their addresses, and the
    table of them. As long as the same tensors are found at the same addresses, they are what they
    were, and only the gradients are looked at again."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.at: list[int] = []
        self.sizes: list[int] = []
        self.table = array("q")  # parameters, gradients, STATES states, counts, sizes
        self.count_bytes = 0

    def same(self, tensors: list[Any]) -> bool:
        return (
            len(tensors) == len(self.tensors)
            and all(map(is_, tensors, self.tensors))
            and [*map(Tensor.data_ptr, tensors)] == self.at
        )

    def take(
        self, call: Native, ps: list[Any], gs: list[Any], states: list[Any], counts: bool
    ) -> str | None:
        """Put these in the table: None, or why the elements of one cannot be stepped by address."""
        n = len(ps)
        if not {*map(type, gs)} <= PLAIN:
            return SUBCLASS
        if [*map(_dtype_of, gs)].count(ps[0].dtype) != n:
            return MIXED
        contiguous = all(map(Tensor.is_contiguous, ps)) and all(map(Tensor.is_contiguous, gs))
        if not (contiguous or all(map(_matching, ps, gs))) or any(map(Tensor.is_neg, gs)):
            return "a parameter or gradient is not contiguous, or laid out as the other"
        columns = [None if key is None else [s.get(key) for s in states] for key in call.states]
        steps = [s["step"] for s in states] if counts else []
        tensors = [*ps, *chain.from_iterable(filter(None, columns)), *steps]
        if not self.same(tensors):
            columns += [None] * (STATES - len(columns))
            if (reason := self.look(ps, columns, steps)) is not None:
                return reason
        if [*map(Tensor.numel, gs)] != self.sizes:
            return "a gradient has another size than its parameter"
        self.table[n : 2 * n] = array("q", map(Tensor.data_ptr, gs))
        # zeros that torch knows of without holding them: parameters without elements are not taken
        return "a gradient has no memory" if 0 in self.table[n : 2 * n] else None

    def look(self, ps: list[Any], columns: list[Any], counts: list[Any]) -> str | None:
        """None, or why these cannot be stepped. `columns`: the states by the kernel's places, None
        for one that it has not."""
        self.tensors = []
        dtype, device = ps[0].dtype, ps[0].device
        if not {*map(type, ps)} <= PLAIN:
            return SUBCLASS
        if any(p.dtype != dtype or p.device != device for p in ps):
            return MIXED
        if any(p.stride() != torch.empty_like(p).stride() for p in ps if not p.is_contiguous()):
            return "a parameter has gaps"
        if any(map(Tensor.is_neg, ps)):
            return "a parameter's sign is pending"
        wanted, sizes = arithmetic(dtype), [*map(Tensor.numel, ps)]
        for column in columns:
            for p, a in zip(ps, column or (), strict=column is not None):
                if type(a) not in PLAIN or a.device != device or not _matching(p, a):
                    return "a state is missing, or does not lie as its parameter does"
                if a.dtype != wanted or a.numel() != p.numel():
                    return f"a state is not {wanted}, or not of its parameter's size"
        if not all(type(a) in PLAIN and a.is_cpu and a.numel() == 1 for a in counts):
            return "a step count is not a number on the CPU"
        dtypes = {a.dtype for a in counts}
        if counts and (len(dtypes) > 1 or not dtypes <= COUNTS.keys()):
            return "the step counts are not of one dtype"
        tensors = [*ps, *(a for c in columns if c is not None for a in c), *counts]
        at, n = [*map(Tensor.data_ptr, tensors)], len(ps)
        if 0 in at or len({*at[:n]}) != n:
            return "a parameter has no elements, or is given twice"
        none, found = [0] * n, iter(range(n, len(at), n))
        placed = [none if c is None else at[(i := next(found)) : i + n] for c in columns]
        last = at[-n:] if counts else none
        self.table = array("q", chain(at[:n], none, *placed, last, sizes))
        self.count_bytes = COUNTS[dtypes.pop()] if counts else 0
        self.tensors, self.at, self.sizes = tensors, at, sizes
        return None

    def moved(self) -> None:
        """Tell autograd of a step that it could not see."""
        n = len(self.sizes)
        increment_version(self.tensors[: len(self.tensors) - (n if self.count_bytes else 0)])


def _matching(a: Any, b: Any) -> bool:
    """Whether the elements of two arrays of one size lie in the same order."""
    return a.stride() == b.stride() or (a.is_contiguous() and b.is_contiguous())


def run(
    call: Native, ps: list[Any], gs: list[Any], states: list[Any], counts: bool, held: Held
) -> str | None:
    """Step parameters of one device and dtype, and count the step. A reason and nothing done where
    the core cannot take them."""
    if (reason := native.available() or _opaque.refuses(())) is not None:
        return reason
    if call.kernel.removeprefix("step_") not in CORE:
        return f"the native core has no {call.kernel}"
    dtype = ps[0].dtype
    if dtype not in NAMES or not ps[0].is_cpu:
        return f"it takes float32, float64 and bfloat16 on a CPU, not {dtype} on {ps[0].device}"
    if (reason := held.take(call, ps, gs, states, counts)) is not None:
        return reason
    where = (held.table.buffer_info()[0], len(ps), held.count_bytes, call.flags)
    packed = _pack(*where, *call.numbers, *[0.0] * (NUMBERS - len(call.numbers)))
    native.check(native.kernel(f"{call.kernel}_{NAMES[dtype]}")(packed, *_pool.parallel_for()))
    held.moved()
    return None
