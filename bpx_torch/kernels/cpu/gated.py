"""Gated linear units for torch on the CPU: the native core by pointer, in one pass. The halves of
one array are read as they lie.

Maths: bpx/activations/gated.py.
"""

import torch

from bpx.rule import Kernel
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable
from bpx_torch.kernels.cpu.elementwise import called, refuses


def kernel(spec):
    def forward(x, gate, **options):
        name, numbers = called(spec.name, "forward", tuple(options.values()))
        x, gate, *rows = in_rows(x, gate)
        y = torch.empty(x.shape, dtype=x.dtype)
        _call.run(name, x.dtype, (x, gate, y), (*rows, x.numel()), numbers)
        return y, ()

    def backward(dy, arrays, residuals, needs, **options):
        name, numbers = called(spec.name, "backward", tuple(options.values()))
        x, gate, *rows = in_rows(*arrays)
        dy = readable(dy, x.dtype)
        dx, dgate = (torch.empty(x.shape, dtype=x.dtype) if need else None for need in needs)
        _call.run(name, x.dtype, (dy, x, gate, dx, dgate), (*rows, x.numel()), numbers)
        return dx, dgate

    return Kernel("cpu", forward, backward, refuses=refuses)


def in_rows(x, gate):
    """(x, gate, the elements of a row of either side by side, from a row to the next): themselves
    or copies without gaps."""
    rows = _rows(x)
    if rows is not None and gate.dtype is x.dtype and gate.stride() == x.stride():
        if not any(a.is_neg() or a._is_zerotensor() for a in (x, gate)):
            return x, gate, *rows
    return readable(x, x.dtype), readable(gate, x.dtype), x.numel(), x.numel()


def _rows(a):
    """(elements side by side, from one such row to the next) of an array, or None."""
    axes = [(n, step) for n, step in zip(a.shape, a.stride(), strict=True) if n != 1]
    row = 1
    while axes and axes[-1][1] == row:
        row *= axes.pop()[0]
    if not axes:
        return row, row
    step = next_step = axes[-1][1]
    for n, own in reversed(axes):
        if own != next_step:
            return None
        next_step *= n
    return (row, step) if step > row else None
