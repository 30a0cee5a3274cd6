"""The label of a row of logits, and the exponential of its logits, in Triton."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch.kernels.triton._pieces_half import e_to as fast_e_to


@triton.jit
def label_of(TARGET, row, IGNORE, HAS_IGNORE: tl.constexpr):
    """(label, whether the row is ignored)."""
    label = tl.load(TARGET + row).to(tl.int64)
    ignored = label != label
    if HAS_IGNORE:
        ignored = label == IGNORE
    return label, ignored


@triton.jit
def weight_of(WEIGHT, label, ignored, V, HAS_WEIGHT: tl.constexpr, ACC: tl.constexpr):
    inside = (label >= 0) & (label < V)
    wy = tl.where(inside, 1.0, float("nan")).to(ACC)
    if HAS_WEIGHT:
        wy *= tl.load(WEIGHT + tl.where(inside, label, 0)).to(ACC)
    return tl.where(ignored, 0.0, wy)


@triton.jit
def e_to(x, FEW: tl.constexpr):
    """e^x; FEW, for what is rounded to 16 bits, in few instructions."""
    if FEW:
        y = fast_e_to(x)
    else:
        y = libdevice.exp(x)
    return y
