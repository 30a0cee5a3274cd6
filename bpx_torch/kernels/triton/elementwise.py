"""Rows of the derivative tables for torch on a GPU, in Triton: each array is read or written once.

Maths and residuals: the rows in bpx/activations; the formulas are in the _formulas modules.
"""

import math

import torch
import triton
import triton.language as tl

from bpx.rule import Kernel
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import ELEMENTWISE, _launch
from bpx_torch.kernels.triton import _formulas_half as half
from bpx_torch.kernels.triton import _formulas_piecewise as piecewise
from bpx_torch.kernels.triton import _formulas_smooth as smooth
from bpx_torch.kernels.triton._rows import refuses_types, rounded

BLOCK = 1024
NAMES = ("x", "gate")

SHRINKS = frozenset({"hardshrink", "softshrink"})  # of one derivative
LOW, HIGH = 2.0**-40, 2.0**40  # of the options that the formulas for 16 bits are for
ROOTS = frozenset({"squareplus"})  # whose formula takes the root of its option


@triton.jit
def forward_kernel(
    X, Y, MASK, N, F: tl.constexpr, M: tl.constexpr, A: tl.constexpr, B: tl.constexpr,
    MASKED: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < N
    x = tl.load(X + i, mask=mask, other=0).to(ACC)
    a, b = tl.full((), A, ACC), tl.full((), B, ACC)  # a number compared would be in float32
    tl.store(Y + i, rounded(F(x, a, b), BY_HAND).to(Y.dtype.element_ty), mask=mask)
    if MASKED:
        tl.store(MASK + i, M(x, a, b).to(tl.uint8), mask=mask)


@triton.jit
def backward_kernel(
    DY, KEPT, DX, N, F: tl.constexpr, A: tl.constexpr, B: tl.constexpr, MASKED: tl.constexpr,
    BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < N
    dy = tl.load(DY + i, mask=mask, other=0).to(ACC)
    kept = tl.load(KEPT + i, mask=mask, other=0)
    if not MASKED:
        kept = kept.to(ACC)
    a, b = tl.full((), A, ACC), tl.full((), B, ACC)
    tl.store(DX + i, rounded(F(dy, kept, a, b), BY_HAND).to(DX.dtype.element_ty), mask=mask)


def refuses(arrays, dims):
    if (reason := _launch.refuses(arrays) or refuses_types(NAMES, arrays)) is not None:
        return reason
    return "an argument has no elements" if arrays[0].numel() == 0 else None


def meta(x):
    return {
        "BY_HAND": x.device.type == "cpu" and x.dtype == torch.bfloat16,
        "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "BLOCK": BLOCK,
    }


def grid(x):
    return (-(-x.numel() // BLOCK),)  # triton.cdiv takes longer than the rest of a small call


def numbers(entry, options):
    """(the formula's name, A, B) for the options of a call."""
    names = [v for v in options.values() if v == "tanh"]
    found = [float(v) for v in options.values() if not isinstance(v, str)]
    found = [v**0.5 for v in found] if entry in ROOTS else found
    return "_".join([entry, *names]), *(*found, 0.0, 0.0)[:2]


def formula(name, dtype, *options):
    """The function of this name for arrays of this dtype."""
    if dtype.itemsize == 2 and all(v in (0, math.inf) or LOW < abs(v) < HIGH for v in options):
        found = getattr(half, name, None)
        if found is not None:
            return found
    return getattr(smooth, name, None) or getattr(piecewise, name)


def derivative(name, dtype, *options):
    if name in SHRINKS:
        return piecewise.dshrink
    return formula(f"d{name}", dtype, *options)


def in_one_order(*arrays):
    """The arrays in one order of elements without gaps: their own where they share it (channels
    last stays so), else contiguous."""
    strides = None
    for a in arrays:
        if a.is_neg() or a._is_zerotensor():
            break
        if strides is None and a.is_contiguous():
            continue
        if strides is None:  # those of the first array itself if it has no gaps
            strides = torch.empty_like(arrays[0]).stride()
        if a.stride() != strides:
            break
    else:
        return arrays
    return tuple(map(_opaque.readable, arrays))


def _kernel(entry):
    masked = entry in ("leaky_relu", "threshold")
    keeps_y = entry in ("relu", "relu6", "exp")
    mask_of = getattr(piecewise, f"{entry}_mask", None)
    known = {}  # the constants of the two kernels, by what they depend on

    def constants(x, options):
        # by its digits, since -0.0 equals 0.0
        key = x.dtype, x.is_cpu, *map(repr, options.values())
        if key not in known:
            name, a, b = numbers(entry, options)
            f = formula(name, x.dtype, a, b)
            both = {"A": a, "B": b, "MASKED": masked, **meta(x)}
            known[key] = (
                {"F": f, "M": mask_of or f, **both},
                {"F": derivative(name, x.dtype, a, b), **both},
            )
        return known[key]

    def forward(x, **options):
        (x,) = in_one_order(x)
        y = torch.empty_like(x)
        mask = torch.empty_like(x, dtype=torch.bool) if masked else None
        to = x if mask is None else mask.view(torch.uint8)
        _launch.run(forward_kernel, grid(x), x, x, y, to, x.numel(), **constants(x, options)[0])
        return y, ((mask,) if masked else (y,) if keeps_y else ())

    def backward(dy, arrays, residuals, needs, **options):
        kept = residuals[0] if residuals else arrays[0]
        dy, kept = in_one_order(dy if masked else dy.to(kept.dtype), kept)
        dx = torch.empty_like(dy)
        if masked:
            kept = kept.view(torch.uint8)
        _launch.run(
            backward_kernel, grid(dy), dy, dy, kept, dx, dy.numel(), **constants(dy, options)[1]
        )
        return (dx,)

    return Kernel("triton", forward, backward, refuses=refuses)


KERNELS = {entry: _kernel(entry) for entry in ELEMENTWISE}
