"""The logits of a chunk of the vocabulary on a GPU, in Triton: what they leave of a row, and their
gradients, in one pass each. Maths: bpx/fused/linear_cross_entropy.py."""

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._launch import add, larger
from bpx_torch.kernels.triton._rows import present, rounded

BLOCK = 4096


@triton.jit
def logits_of(Z, BIAS, i, C, CAP: tl.constexpr, HAS_BIAS: tl.constexpr):
    """Logits of a row at the columns i, -inf behind the last of the C."""
    z = tl.load(Z + i, mask=i < C, other=-float("inf"))
    if HAS_BIAS:
        z += tl.load(BIAS + i, mask=i < C, other=0).to(z.dtype)
    if CAP != 0:
        z = tl.where(i < C, CAP * libdevice.tanh(z / CAP), -float("inf"))
    return z


@triton.jit
def met(z, i, start, label, top, total, at, even, C, SMOOTH: tl.constexpr, BLOCK: tl.constexpr):
    """(top, total, at, even) of a row after its logits at the columns i from `start` on: the
    largest, sum(exp(z - top)), z at the label and sum(z)."""
    higher = tl.maximum(top, tl.reduce(z, 0, larger))
    shift = tl.where(higher == -float("inf"), 0.0, higher)  # of masked classes alone
    total = total * libdevice.exp(top - shift) + tl.reduce(libdevice.exp(z - shift), 0, add)
    if (label >= start) & (label < start + BLOCK):  # a sum of one term: 0 * -inf would be NaN
        at = tl.reduce(tl.where(i == label, z, 0.0), 0, add)
    if SMOOTH:
        even += tl.reduce(tl.where(i < C, z, 0.0), 0, add)
    return higher, total, at, even


@triton.jit
def joined_kernel(
    Z, BIAS, LABEL, TOP, SUM, AT, EVEN, START, C, CAP: tl.constexpr, SMOOTH: tl.constexpr,
    HAS_BIAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Take a chunk into each row's largest logit, sum(exp(z - top)), z at the label and sum(z)."""
    row = tl.program_id(0).to(tl.int64)
    Z += row * C
    d = tl.arange(0, BLOCK)
    label = tl.load(LABEL + row) - START
    top = tl.load(TOP + row)
    total = tl.load(SUM + row)
    at = tl.load(AT + row)
    even = tl.load(EVEN + row)
    for start in range(0, C, BLOCK):
        i = start + d
        z = logits_of(Z, BIAS, i, C, CAP, HAS_BIAS)
        top, total, at, even = met(z, i, start, label, top, total, at, even, C, SMOOTH, BLOCK)
    tl.store(TOP + row, top)
    tl.store(SUM + row, total)
    tl.store(AT + row, at)
    tl.store(EVEN + row, even)


@triton.jit
def pulled_kernel(
    Z, BIAS, LABEL, TOP, MASS, PULL, HIT, EVEN, D, START, C, CAP: tl.constexpr,
    SMOOTH: tl.constexpr, HAS_BIAS: tl.constexpr, BY_HAND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dlogits of a chunk: the terms are those of the plain rule's backward."""
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    z = logits_of(Z + row * C, BIAS, i, C, CAP, HAS_BIAS)
    p = libdevice.exp(z - tl.load(TOP + row) - tl.load(MASS + row))
    d = tl.load(PULL + row) * p
    d += tl.where(i == tl.load(LABEL + row) - START, tl.load(HIT + row), 0.0)
    if SMOOTH:
        d -= tl.load(EVEN + row)
    if CAP != 0:
        d *= 1 - (z / CAP) * (z / CAP)
    tl.store(D + row * C + i, rounded(d, BY_HAND).to(D.dtype.element_ty), mask=i < C)


def numbers(z, bias, softcap, s, most=BLOCK):
    """The constants of a kernel whose blocks have at most so many classes."""
    block = min(triton.next_power_of_2(z.shape[1]), most)
    return {
        "CAP": 0.0 if softcap is None else float(softcap),
        "SMOOTH": bool(s),
        "HAS_BIAS": bias is not None,
        "BLOCK": block,
        "num_warps": min(max(block // 512, 1), 16),
    }


class Walk:
    """What the chunks leave of each row's logits."""

    def __init__(self, wy):
        self.top = torch.full_like(wy, -torch.inf)
        self.total, self.at, self.even = (torch.zeros_like(wy) for _ in range(3))

    def take(self, z, bias, label, start, softcap, s):
        _launch.run(
            joined_kernel, (len(z),), z,
            z, present(bias, z), label, self.top, self.total, self.at, self.even, start, z.shape[1],
            **numbers(z, bias, softcap, s),
        )  # fmt: skip


def pulls(g, wy, lse, s, z_loss, v):
    """What p, the onehot of the label and 1 are multiplied by in a row of dlogits."""
    hit = (1 - s) * wy
    pull = hit + 2 * z_loss * wy * lse if z_loss else hit
    return g * (pull + s if s else pull), -g * hit, s / v * g


def pulled(z, bias, label, top, mass, weights, d, start, softcap, s):
    """dlogits of a chunk into d, which may be z."""
    known = numbers(z, bias, softcap, s)
    _launch.run(
        pulled_kernel, (len(z), triton.cdiv(z.shape[1], known["BLOCK"])), z,
        z, present(bias, z), label, top, mass, *weights, d, start, z.shape[1],
        BY_HAND=z.device.type == "cpu" and d.dtype == torch.bfloat16, **known,
    )  # fmt: skip
