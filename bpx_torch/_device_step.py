"""A step over many tensors as one launch on a GPU: what is stepped, and with which numbers.

Maths, options and sources are the optimizers'; the kernel is bpx_torch/kernels/triton/steps.py.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bpx import rule
from bpx_torch import _native_step
from bpx_torch._native_step import Native

CELLS = {4: ctypes.c_float, 8: ctypes.c_double}
ARRAYS = 5  # planes of a table that hold addresses on the device
WIDEST = 16  # bytes that a thread reads at once


class Held(_native_step.Held):
    """Beside what is held of any step: which program steps what, the table as the GPU has it, and
    the counts of the steps as numbers in memory, since a call of torch for each takes longer."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: Any = None
        self.sent: Any = None
        self.words = b""
        self.aligned = False
        self.stream = 0
        self.counts: list[Any] = []

    def look(self, ps: list[Any], columns: list[Any], counts: list[Any]) -> str | None:
        self.chunks = None
        if (reason := super().look(ps, columns, counts)) is None:
            cell = CELLS.get(self.count_bytes)
            self.counts = [] if cell is None else [cell.from_address(c.data_ptr()) for c in counts]
        return reason

    def send(self, table: array[int], n: int, device: Any, chunks: Callable[..., Any]) -> None:
        """The table to the device, unless it is there."""
        words = table.tobytes()
        if device.type == "cuda":
            self._follow(torch.cuda.current_stream(device))
        if self.chunks is None:
            self.chunks = chunks(self.sizes, device)
        elif words == self.words:
            return
        given = torch.frombuffer(table, dtype=torch.int64)
        self.aligned = not (given[: ARRAYS * n] % WIDEST).any()
        self.sent = _moved(given, device)
        self.words = words

    def _follow(self, stream: Any) -> None:
        """Arrays made on one stream and read on another must not be given away before that."""
        if stream.cuda_stream != self.stream:
            self.stream = stream.cuda_stream
            for a in (self.chunks, self.sent):
                if a is not None:
                    a.record_stream(stream)


def _moved(table: Tensor, device: Any) -> Tensor:
    """On the device, without waiting for it."""
    if device.type != "cuda":
        return table.clone()
    # torch gives pinned memory to nobody else before the copy is done
    pinned = torch.empty(len(table), dtype=torch.int64, pin_memory=True).copy_(table)
    return pinned.to(device, non_blocking=True)


def here(p: Tensor) -> bool:
    """Whether parameters like this one are stepped by a GPU's kernel, or by its interpreter."""
    return p.is_cuda or (rule.asked() == "triton" and rule.interpreting())


def run(
    call: Native, ps: list[Any], gs: list[Any], states: list[Any], counts: bool, held: Held
) -> str | None:
    """Step parameters of one device and dtype, and count the step. A reason and nothing done where
    the kernel cannot take them."""
    try:
        from bpx_torch.kernels.triton import steps
    except ImportError as error:
        return str(error)
    p, n = ps[0], len(ps)
    if (reason := steps.refuses(p)) is not None:
        return reason
    if (found := steps.numbers(call)) is None:
        return f"there is no kernel {call.kernel} for a GPU"
    if (reason := held.take(call, ps, gs, states, counts)) is not None:
        return reason
    if found.product is not None and not all(s[found.product].is_cpu for s in states):
        return f"{found.product} is not on the CPU"
    ts = [cell.value + 1 for cell in held.counts]
    table, factors, varies = held.table, (0.0,) * steps.FACTORS, False
    if found.counted is not None:
        keys: list[Any] = ts
        of = {}
        if (product := found.product) is not None:
            grown = [s[product].mul_(found.grows(t)) for s, t in zip(states, ts, strict=True)]
            keys = [*zip(ts, map(Tensor.item, grown), strict=True)]
        for key in {*keys}:
            counted = found.counted(key) if product is None else found.counted(*key)
            of[key] = (*map(float, counted), *[0.0] * (steps.FACTORS - len(counted)))
        factors, varies = of[keys[0]], len(of) > 1
        if varies:
            planes = array("d", [of[key][k] for k in range(steps.FACTORS) for key in keys])
            table = table + array("q", planes.tobytes())
    held.send(table, n, p.device, steps.chunks)
    steps.launch(p, call, found, held.chunks, held.sent, n, factors, varies, held.aligned)
    for cell, t in zip(held.counts, ts, strict=True):
        cell.value = t
    held.moved()
    return None
