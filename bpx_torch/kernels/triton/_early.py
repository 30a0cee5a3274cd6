"""Gradients that forward took at dy = 1, made those of backward's dy, in Triton."""

import torch
import triton
import triton.language as tl

from bpx_torch.kernels._kept import free
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._rows import rounded

BLOCK = 4096


@triton.jit
def times_kernel(A, DY, N, BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    dy = tl.load(DY).to(ACC)
    if dy != 1:  # most losses are the root of their graph: then nothing is read or written
        i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        a = tl.load(A + i, mask=i < N, other=0).to(ACC)
        tl.store(A + i, rounded(a * dy, BY_HAND).to(A.dtype.element_ty), mask=i < N)


def times(a, dy):
    """a dy of a dense `a` that forward kept and one number dy: over `a` itself where it is the last
    use of it."""
    dy = dy.to(a.dtype)
    if not free(a, dy):
        return a * dy
    _launch.run(
        times_kernel, (triton.cdiv(a.numel(), BLOCK),), a, a, dy, a.numel(),
        BY_HAND=a.device.type == "cpu" and a.dtype == torch.bfloat16,
        ACC=tl.float64 if a.dtype == torch.float64 else tl.float32, BLOCK=BLOCK, num_warps=8,
    )  # fmt: skip
    return a.detach()  # a tensor of its own: autograd takes it as a gradient without a copy
