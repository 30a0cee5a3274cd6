"""linear_cross_entropy for torch on a GPU: torch's products, and one pass in Triton over the logits
of a chunk of the vocabulary each way. Maths, shapes and source: bpx/fused/linear_cross_entropy.py.
"""

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch._labels import over_labels
from bpx_torch._vocabulary import chunks, prepared, product, row_losses
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._launch import add, larger
from bpx_torch.kernels.triton._rows import present, refuses_types, rounded

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
        higher = tl.maximum(top, tl.reduce(z, 0, larger))
        shift = tl.where(higher == -float("inf"), 0.0, higher)  # of masked classes alone
        total = total * libdevice.exp(top - shift) + tl.reduce(libdevice.exp(z - shift), 0, add)
        top = higher
        if (label >= start) & (label < start + BLOCK):  # a sum of one term: 0 * -inf would be NaN
            at = tl.reduce(tl.where(i == label, z, 0.0), 0, add)
        if SMOOTH:
            even += tl.reduce(tl.where(i < C, z, 0.0), 0, add)
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


def refuses(arrays, dims):
    x, weight, _, bias, class_weight = arrays
    if (reason := _launch.refuses(arrays)) is not None:
        return reason
    found = refuses_types(("weight", "x", "bias"), (weight, x, bias))
    if found is not None:
        return found
    if class_weight is not None:
        return "class_weight is given"
    return "x or weight has no elements" if 0 in (x.numel(), weight.numel()) else None


def walked(x_rows, weight, bias, label, chunk):
    """Every chunk's place, weight, bias and products with x."""
    for part, w, b, _, _, _ in chunks(weight, bias, None, label, chunk):
        yield part, w, b, product(x_rows, w.T)


def numbers(z, bias, softcap, s):
    classes = z.shape[1]
    block = min(triton.next_power_of_2(classes), BLOCK)
    return {
        "CAP": 0.0 if softcap is None else float(softcap),
        "SMOOTH": bool(s),
        "HAS_BIAS": bias is not None,
        "BLOCK": block,
        "num_warps": min(max(block // 512, 1), 8),
    }


def forward(
    x, weight, target, bias, class_weight, *, ignore_index, reduction, label_smoothing, softcap,
    z_loss, num_items, chunk,
):  # fmt: skip
    x_rows, _, rows = prepared(x, weight, target, None, ignore_index)
    label, wy = rows[2], rows[3]
    bias = None if bias is None else _opaque.readable(bias)
    top = torch.full_like(wy, -torch.inf)
    total, zy, even = (torch.zeros_like(wy) for _ in range(3))
    for part, _, b, z in walked(x_rows, weight, bias, label, chunk):
        _launch.run(
            joined_kernel, (len(wy),), z,
            z, present(b, z), label, top, total, zy, even, part.start, z.shape[1],
            **numbers(z, b, softcap, label_smoothing),
        )  # fmt: skip
    mass = total.log()
    v = weight.shape[0]
    loss = row_losses(top + mass, zy, even, rows, None, v, label_smoothing, z_loss)
    if reduction == "none":
        loss = loss.reshape(target.shape)
    elif reduction == "sum":
        loss = loss.sum()
    else:
        loss = over_labels(loss.sum(), wy) if num_items is None else loss.sum() / num_items
    return loss.to(x.dtype), tuple(k.reshape(target.shape) for k in (top, mass))


def backward(
    dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing, softcap, z_loss,
    num_items, chunk,
):  # fmt: skip
    x, weight, target, bias, _ = arrays
    v, s = weight.shape[0], label_smoothing
    x_rows, _, rows = prepared(x, weight, target, None, ignore_index)
    ignored, _, label, wy = rows
    top, mass = (_opaque.readable(r.reshape(-1)) for r in residuals)
    bias = None if bias is None else _opaque.readable(bias)
    g = dy.to(wy.dtype).reshape(-1)
    if reduction == "mean":
        g = over_labels(g, wy) if num_items is None else g / num_items
    g = g.expand(wy.shape).masked_fill(ignored, 0.0)
    hit = (1 - s) * wy
    pull = hit + 2 * z_loss * wy * (top + mass) if z_loss else hit
    pull, hit, even = g * (pull + s if s else pull), -g * hit, s / v * g

    dx = torch.zeros_like(x_rows, dtype=wy.dtype) if needs[0] else None
    dweight = torch.empty_like(weight) if needs[1] else None
    dbias = torch.empty_like(bias, dtype=wy.dtype) if needs[3] else None
    for part, w, b, z in walked(x_rows, weight, bias, label, chunk):
        d = z if needs[3] else torch.empty_like(z, dtype=weight.dtype)
        known = numbers(z, b, softcap, s)
        _launch.run(
            pulled_kernel, (len(wy), triton.cdiv(z.shape[1], known["BLOCK"])), z,
            z, present(b, z), label, top, mass, pull, hit, even, d, part.start, z.shape[1],
            BY_HAND=z.device.type == "cpu" and d.dtype == torch.bfloat16, **known,
        )  # fmt: skip
        if needs[3]:
            dbias[part] = d.sum(0)
            d = d.to(weight.dtype)
        if needs[0]:
            dx = product(d, w, dx)
        if needs[1]:
            torch.mm(d.T, x_rows, out=dweight[part])
    return dx.reshape(x.shape) if needs[0] else None, dweight, None, dbias, None
