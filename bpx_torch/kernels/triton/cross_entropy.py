"""cross_entropy for torch on a GPU, in Triton. Maths, shapes and source:
bpx/losses/cross_entropy.py.

A program walks over one row in float32 (float64 for float64 logits), BLOCK classes at a time. Where
the result has the digits for it, exp(logits - lse) is divided by its own sum, which takes out the
rounding of lse. wy is the weight of a row's label: 0 where it is ignored, NaN where it is no class.
"""

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch._labels import over_labels
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._launch import add, larger
from bpx_torch.kernels.triton._rows import present, refuses_types, rounded, statistic

BLOCK = 4096


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
def forward_kernel(
    X, TARGET, WEIGHT, LOSS, LSE, WY, V, IGNORE, S: tl.constexpr, EVEN: tl.constexpr,
    HAS_IGNORE: tl.constexpr, HAS_WEIGHT: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    X += row * V
    top = tl.full((), -float("inf"), ACC)
    mass = tl.full((), 0, ACC)
    for start in range(0, V, BLOCK):
        x = tl.load(X + start + d, mask=start + d < V, other=-float("inf")).to(ACC)
        higher = tl.maximum(top, tl.reduce(x, 0, larger))
        shift = tl.where(higher == -float("inf"), 0.0, higher)  # of masked classes alone
        mass = mass * libdevice.exp(top - shift) + tl.reduce(libdevice.exp(x - shift), 0, add)
        top = higher
    lse = top + libdevice.log(mass)
    label, ignored = label_of(TARGET, row, IGNORE, HAS_IGNORE)
    wy = weight_of(WEIGHT, label, ignored, V, HAS_WEIGHT, ACC)
    at = tl.load(X + tl.where((label >= 0) & (label < V), label, 0)).to(ACC)
    loss = (1 - S) * wy * (lse - at)
    if S != 0:
        surprise = tl.full((), 0, ACC)
        for start in range(0, V, BLOCK):
            x = tl.load(X + start + d, mask=start + d < V, other=0).to(ACC)
            part = lse - x
            if HAS_WEIGHT:
                part *= tl.load(WEIGHT + start + d, mask=start + d < V, other=0).to(ACC)
            surprise += tl.reduce(tl.where(start + d < V, part, 0.0), 0, add)
        loss = tl.where(wy == wy, loss + EVEN * surprise, wy)
    tl.store(LOSS + row, tl.where(ignored, 0.0, loss))
    tl.store(LSE + row, lse)
    tl.store(WY + row, wy)


@triton.jit
def backward_kernel(
    G, X, TARGET, WEIGHT, SUM, LSE, DX, V, IGNORE, S: tl.constexpr, EACH: tl.constexpr,
    EVEN: tl.constexpr, EXACT: tl.constexpr, HAS_IGNORE: tl.constexpr, HAS_WEIGHT: tl.constexpr,
    BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # With s the label smoothing and pull = (1 - s) wy + s/V sum(weight), all that a row's lse
    # enters:
    #   dlogits = g * (pull * p                          through lse
    #                  - (1 - s) wy onehot(target)       through the label's logit
    #                  - s/V weight)                     through the smoothed logits
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    X += row * V
    DX += row * V
    label, ignored = label_of(TARGET, row, IGNORE, HAS_IGNORE)
    wy = weight_of(WEIGHT, label, ignored, V, HAS_WEIGHT, ACC)
    g = tl.load(G + row * EACH).to(ACC)
    lse = tl.load(LSE + row)
    hit = (1 - S) * wy
    pull = hit
    if S != 0:
        pull += EVEN * tl.load(SUM).to(ACC)
    scale = g * pull
    if EXACT:
        mass = tl.full((), 0, ACC)
        for start in range(0, V, BLOCK):
            x = tl.load(X + start + d, mask=start + d < V, other=-float("inf")).to(ACC)
            mass += tl.reduce(libdevice.exp(x - lse), 0, add)
        scale = scale / mass
    for start in range(0, V, BLOCK):
        i = start + d
        x = tl.load(X + i, mask=i < V, other=-float("inf")).to(ACC)
        dx = scale * libdevice.exp(x - lse) - tl.where(i == label, g * hit, 0.0)
        if S != 0:
            even = tl.full((BLOCK,), 1, ACC)
            if HAS_WEIGHT:
                even = tl.load(WEIGHT + i, mask=i < V, other=0).to(ACC)
            dx = tl.where(wy == wy, dx - EVEN * g * even, float("nan"))
        dx = tl.where(ignored, 0.0, dx)
        tl.store(DX + i, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=i < V)


@triton.jit
def weights_kernel(
    TARGET, WEIGHT, WY, V, IGNORE, HAS_IGNORE: tl.constexpr, HAS_WEIGHT: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    label, ignored = label_of(TARGET, row, IGNORE, HAS_IGNORE)
    tl.store(WY + row, weight_of(WEIGHT, label, ignored, V, HAS_WEIGHT, ACC))


def refuses(arrays, dims):
    logits, _, weight = arrays
    if (reason := _launch.refuses(arrays)) is not None:
        return reason
    if (reason := refuses_types(("logits", "weight"), (logits, weight))) is not None:
        return reason
    return "logits has no elements" if logits.numel() == 0 else None


def labels(x, weight, ignore_index):
    """What every kernel is told of the labels, and of the type of its sums."""
    return {
        "IGNORE": 0 if ignore_index is None else ignore_index,
        "HAS_IGNORE": ignore_index is not None,
        "HAS_WEIGHT": weight is not None,
        "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
    }


def smoothed(s, classes):
    return {"S": float(s), "EVEN": s / classes}


def walk(classes):
    block = min(triton.next_power_of_2(classes), BLOCK)
    return {"BLOCK": block, "num_warps": min(max(block // 512, 1), 8)}


def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing):
    x, target = _opaque.readable(logits), _opaque.readable(target)
    weight = None if weight is None else _opaque.readable(weight)
    classes = x.shape[-1]
    loss, lse, wy = (x.new_empty(target.shape, dtype=statistic(x)) for _ in range(3))
    _launch.run(
        forward_kernel, (target.numel(),), x,
        x, target, present(weight, x), loss, lse, wy, classes, **smoothed(label_smoothing, classes),
        **labels(x, weight, ignore_index), **walk(classes),
    )  # fmt: skip
    if reduction != "none":
        loss = loss.sum()
    if reduction == "mean":
        loss = over_labels(loss, wy)
    return loss.to(logits.dtype), (lse,)


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing):
    logits, target, weight = arrays
    x, target, lse = map(_opaque.readable, (logits, target, residuals[0]))
    weight = None if weight is None else _opaque.readable(weight)
    rows, classes, wide = target.numel(), x.shape[-1], statistic(x)
    known = labels(x, weight, ignore_index)
    g, wy = dy.to(wide), None
    if reduction == "mean" or needs[2]:
        wy = torch.empty(target.shape, dtype=wide, device=x.device)
        _launch.run(
            weights_kernel, (rows,), x, target, present(weight, x), wy, classes, **known
        )  # fmt: skip
    if reduction == "mean":
        g = over_labels(g, wy)
    dlogits = None
    if needs[0]:
        dlogits = torch.empty_like(x)
        total = x.new_full((), classes, dtype=wide) if weight is None else weight.to(wide).sum()
        _launch.run(
            backward_kernel, (rows,), x,
            _opaque.readable(g), x, target, present(weight, x), total, lse, dlogits, classes,
            EACH=int(reduction == "none"), **smoothed(label_smoothing, classes),
            EXACT=x.dtype in (torch.float32, torch.float64),
            BY_HAND=x.device.type == "cpu" and x.dtype == torch.bfloat16, **known, **walk(classes),
        )  # fmt: skip
    if not needs[2]:
        return dlogits, None, None
    options = ignore_index, reduction, label_smoothing
    return dlogits, None, _weight_gradient(g, x.to(wide), target, weight.to(wide), lse, wy, options)


def _weight_gradient(g, x, target, weight, lse, wy, options):
    # dweight[c] = sum of g * (1 - s) (lse - logits[target]) over the rows with label c
    #              - sum of g * y over them, in a mean             through sum(wy)
    #              + sum of g * s/V (lse - logits[c]) over all rows that count
    ignore_index, reduction, s = options
    target, classes = target.long(), len(weight)
    ignored = torch.zeros_like(target, dtype=torch.bool)
    if ignore_index is not None:
        ignored = target == ignore_index
    label = torch.where((target < 0) | (target >= classes), 0, target)
    surprise = (lse.unsqueeze(-1) - x).masked_fill(ignored.unsqueeze(-1), 0.0)
    own = surprise.gather(-1, label.unsqueeze(-1)).squeeze(-1)
    dwy = (1 - s) * own
    if reduction == "mean":
        even = s / classes * (surprise * weight).sum(-1) if s else 0.0
        dwy = dwy - over_labels((wy * dwy + even).sum(), wy)
    dwy = (g * dwy + 0 * wy).masked_fill(ignored, 0.0)  # 0 * wy: NaN for a label out of range
    dweight = torch.zeros_like(weight).index_add(0, label.flatten(), dwy.flatten())
    if s:
        spread = s / classes * g.expand(lse.shape).unsqueeze(-1) * surprise
        dweight = dweight + spread.reshape(-1, classes).sum(0)
    return dweight
