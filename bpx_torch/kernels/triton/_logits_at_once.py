"""Whole rows of logits on a GPU, in Triton: what they leave, and their gradients at once. Maths:
bpx/fused/linear_cross_entropy.py; the terms are those of the two passes in _logits.py.

A program owns a row and goes over it twice, the second time backwards: it meets first what the
cache still has of the first time.
"""

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._logits import logits_of, met, numbers
from bpx_torch.kernels.triton._rows import present, rounded

BLOCK = 8192


@triton.jit
def rows_kernel(
    Z, BIAS, LABEL, G, WY, TOP, MASS, AT, SUM, D, C, S: tl.constexpr, EVEN: tl.constexpr,
    Z_LOSS: tl.constexpr, CAP: tl.constexpr, SMOOTH: tl.constexpr, HAS_BIAS: tl.constexpr,
    BY_HAND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    Z += row * C
    D += row * C
    d = tl.arange(0, BLOCK)
    label = tl.load(LABEL + row)
    g = tl.load(G + row)
    hit = (1 - S) * tl.load(WY + row)
    top = tl.full((), -float("inf"), g.dtype)
    total = tl.full((), 0, g.dtype)
    at = tl.full((), 0, g.dtype)
    even = tl.full((), 0, g.dtype)
    for start in range(0, C, BLOCK):
        i = start + d
        z = logits_of(Z, BIAS, i, C, CAP, HAS_BIAS)
        top, total, at, even = met(z, i, start, label, top, total, at, even, C, SMOOTH, BLOCK)
    mass = libdevice.log(total)
    tl.store(TOP + row, top)
    tl.store(MASS + row, mass)
    tl.store(AT + row, at)
    tl.store(SUM + row, even)

    # with wy the weight of the row's label, what a logit is reached through:
    #   dz = g ((1 - s) wy (1 + 2 z_loss lse / (1 - s)) p + s p   through lse
    #           - (1 - s) wy onehot(target) - s/V)                through the logits themselves
    pull = hit
    if Z_LOSS != 0:
        pull += 2 * Z_LOSS * tl.load(WY + row) * (top + mass)
    if SMOOTH:
        pull += S
    pull *= g
    for before in range(0, C, BLOCK):
        i = (C - 1) // BLOCK * BLOCK - before + d
        z = logits_of(Z, BIAS, i, C, CAP, HAS_BIAS)
        dz = pull * libdevice.exp(z - top - mass) - tl.where(i == label, g * hit, 0.0)
        if SMOOTH:
            dz -= g * EVEN
        if CAP != 0:
            dz *= 1 - (z / CAP) * (z / CAP)
        tl.store(D + i, rounded(dz, BY_HAND).to(D.dtype.element_ty), mask=i < C)


def rows_at_once(z, bias, label, g, wy, kept, d, softcap, s, z_loss):
    """Take whole rows of logits: (top, mass, at, even) into `kept`, their gradients for the
    gradients g of the rows' losses into d, which may be z."""
    known = numbers(z, bias, softcap, s, BLOCK)
    _launch.run(
        rows_kernel, (len(z),), z,
        z, present(bias, z), label, g, wy, *kept, d, z.shape[1],
        S=float(s), EVEN=s / z.shape[1], Z_LOSS=float(z_loss),
        BY_HAND=z.device.type == "cpu" and d.dtype == torch.bfloat16, **known,
    )  # fmt: skip
