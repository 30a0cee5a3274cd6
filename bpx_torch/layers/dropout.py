"""dropout for PyTorch. Maths, shapes and source: bpx/layers/dropout.py."""

import contextlib
import importlib
import math

import torch

from bpx.layers.dropout import SPEC, factor, mask_shape, threshold
from bpx.rule import Kernel, asked
from bpx_torch import random
from bpx_torch._rule import Rule
from bpx_torch.kernels.cpu import dropout as native


def keep_bits(key, shape, *, p, device=None):
    """The packed mask of a key: uint8, one bit for each element of shape, 1 with probability
    1 - p."""
    count, least = math.prod(shape), threshold(p)
    if not torch.compiler.is_compiling() and isinstance(key, torch.Tensor) and device is None:
        if asked() in (None, "cpu") and native.refuses_key(key, count) is None:
            return native.keep_bits(key, count, least)
        if (fused := _on_gpu(key)) and fused.refuses_key(key, count) is None:
            return fused.keep_bits(key, count, least)
    # as int64: torch compares no uint32
    return pack(random.bits(key, shape, device=device).flatten().to(torch.int64) >= least)


def _on_gpu(key):
    """The module that draws a mask in Triton, where a key on a GPU or `use` asks for it."""
    if asked() == "triton" or (asked() is None and key.is_cuda):
        with contextlib.suppress(ImportError):
            return importlib.import_module("bpx_torch.kernels.triton.dropout")
    return None


def places(device):
    return torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=device)


def pack(keep):
    eights = torch.nn.functional.pad(keep.to(torch.uint8), (0, -len(keep) % 8)).reshape(-1, 8)
    return (eights * places(keep.device)).sum(-1, dtype=torch.uint8)


def kept(bits, shape, p):
    """The mask as booleans, False everywhere for p = 1."""
    if p == 1:
        return torch.zeros(shape, dtype=torch.bool, device=bits.device)
    keep = (bits.unsqueeze(-1) & places(bits.device)) != 0
    return keep.flatten()[: math.prod(shape)].reshape(shape)


def forward(x, bits, *, p, broadcast_dims):
    keep = kept(bits, mask_shape(x.shape, broadcast_dims), p)
    return torch.where(keep, x * factor(p), 0.0), ()  # torch widens x itself


def backward(dy, arrays, residuals, needs, *, p, broadcast_dims):
    # dx = dy / (1 - p) where the mask keeps, else 0
    keep = kept(arrays[1], mask_shape(dy.shape, broadcast_dims), p)
    return torch.where(keep, dy * factor(p), 0.0), None


def tangent(tangents, arrays, residuals, *, p, broadcast_dims):
    # dy = dx / (1 - p) where the mask keeps, else 0
    return backward(tangents[0], arrays, (), None, p=p, broadcast_dims=broadcast_dims)[0]


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.dropout"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.dropout"),
        Kernel("plain", forward, backward, tangent),
    ),
)


class Drawn(torch.autograd.Function):
    """Mask and product in one pass; backward is the rule of the same mask."""

    @staticmethod
    def forward(ctx, fused, x, key, p):
        y, bits = fused.drawn(x, key, p, threshold(p))
        ctx.save_for_backward(bits)
        ctx.p = p
        return y

    @staticmethod
    def backward(ctx, dy):
        return None, dropout(dy, *ctx.saved_tensors, p=ctx.p), None, None


def dropout(x, bits, *, p=0.5, broadcast_dims=()):
    """x (*N) / (1 - p) where the packed mask bits (uint8) keeps, else 0; one bit decides for all
    along broadcast_dims. `keep_bits` draws the mask. Maths: bpx/layers/dropout.py."""
    return RULE(x, bits, p=p, broadcast_dims=broadcast_dims)


def drawn(x, key, *, p=0.5, broadcast_dims=()):
    """`dropout` with the mask of a key, in one pass on a GPU."""
    if not torch.compiler.is_compiling() and not broadcast_dims and p < 1:
        fused = _on_gpu(key)
        if fused and (fused.refuses((x, key), None) or fused.refuses_key(key, x.numel())) is None:
            return Drawn.apply(fused, x, key, p)
    bits = keep_bits(key, mask_shape(tuple(x.shape), broadcast_dims), p=p)
    return dropout(x, bits, p=p, broadcast_dims=broadcast_dims)
