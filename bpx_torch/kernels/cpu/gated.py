"""Gated linear units for torch on the CPU: the native core by pointer, in one pass.

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
        x, gate = readable(x, x.dtype), readable(gate, x.dtype)
        y = torch.empty_like(x)
        _call.run(name, x.dtype, (x, gate, y), (x.numel(),), numbers)
        return y, ()

    def backward(dy, arrays, residuals, needs, **options):
        name, numbers = called(spec.name, "backward", tuple(options.values()))
        dtype = arrays[0].dtype
        dy, x, gate = (readable(a, dtype) for a in (dy, *arrays))
        dx, dgate = (torch.empty_like(x) if need else None for need in needs)
        _call.run(name, dtype, (dy, x, gate, dx, dgate), (x.numel(),), numbers)
        return dx, dgate

    return Kernel("cpu", forward, backward, refuses=refuses)
