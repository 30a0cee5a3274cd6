"""cross_entropy for torch on a GPU, in Triton. Maths, shapes and source:
bpx/losses/cross_entropy.py.

In forward a program walks over one row in float32 (float64 for float64 logits), BLOCK classes at a
time; a thread keeps the largest logit and the sum of its own classes, PER of them side by side, so
that none waits for another before the end. In backward a program has one block of a row, except
where the result has the digits for it: there exp(logits - lse) is divided by its own sum, which
takes out the rounding of lse, and the row is then read from its end, which the cache still has.
wy is the weight of a row's label: 0 where it is ignored, NaN where it is no class.
"""

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch._labels import over_labels
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._labels import e_to, label_of, weight_of
from bpx_torch.kernels.triton._launch import add, larger
from bpx_torch.kernels.triton._rows import present, refuses_types, rounded, statistic

BLOCK, EXACT_BLOCK = 4096, 16384
PER = 8


@triton.jit
def forward_kernel(
    X, TARGET, WEIGHT, LOSS, LSE, WY, V, IGNORE, S: tl.constexpr, EVEN: tl.constexpr,
    HAS_IGNORE: tl.constexpr, HAS_WEIGHT: tl.constexpr, FEW: tl.constexpr, ACC: tl.constexpr,
    PER: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK // PER)[:, None] * PER + tl.arange(0, PER)[None, :]
    X += row * V
    tops = tl.full((BLOCK // PER,), -float("inf"), ACC)
    masses = tl.full((BLOCK // PER,), 0, ACC)
    for start in range(0, V, BLOCK):
        x = tl.load(X + start + d, mask=start + d < V, other=-float("inf")).to(ACC)
        higher = tl.maximum(tops, tl.reduce(x, 1, larger))
        shift = tl.where(higher == -float("inf"), 0.0, higher)  # of masked classes alone
        added = tl.reduce(e_to(x - shift[:, None], FEW), 1, add)
        masses = masses * e_to(tops - shift, FEW) + added
        tops = higher
    top = tl.reduce(tops, 0, larger)
    shift = tl.where(top == -float("inf"), 0.0, top)
    lse = top + libdevice.log(tl.reduce(masses * e_to(tops - shift, FEW), 0, add))
    label, ignored = label_of(TARGET, row, IGNORE, HAS_IGNORE)
    wy = weight_of(WEIGHT, label, ignored, V, HAS_WEIGHT, ACC)
    at = tl.load(X + tl.where((label >= 0) & (label < V), label, 0)).to(ACC)
    loss = (1 - S) * wy * (lse - at)
    if S != 0:
        surprise = tl.full((BLOCK // PER,), 0, ACC)
        for start in range(0, V, BLOCK):
            x = tl.load(X + start + d, mask=start + d < V, other=0).to(ACC)
            part = lse - x
            if HAS_WEIGHT:
                part *= tl.load(WEIGHT + start + d, mask=start + d < V, other=0).to(ACC)
            surprise += tl.reduce(tl.where(start + d < V, part, 0.0), 1, add)
        loss = tl.where(wy == wy, loss + EVEN * tl.reduce(surprise, 0, add), wy)
    tl.store(LOSS + row, tl.where(ignored, 0.0, loss))
    tl.store(LSE + row, lse)
    tl.store(WY + row, wy)


@triton.jit
def backward_kernel(
    G, X, TARGET, WEIGHT, SUM, LSE, DX, V, PARTS, IGNORE, S: tl.constexpr, EACH: tl.constexpr,
    EVEN: tl.constexpr, EXACT: tl.constexpr, HAS_IGNORE: tl.constexpr, HAS_WEIGHT: tl.constexpr,
    FEW: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # With s the label smoothing and pull = (1 - s) wy + s/V sum(weight), all that a row's lse
    # enters:
    #   dlogits = g * (pull * p                          through lse
    #                  - (1 - s) wy onehot(target)       through the label's logit
    #                  - s/V weight)                     through the smoothed logits
    program = tl.program_id(0)
    row = (program // PARTS).to(tl.int64)
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
        masses = tl.full((BLOCK,), 0, ACC)
        for start in range(0, V, BLOCK):
            x = tl.load(X + start + d, mask=start + d < V, other=-float("inf")).to(ACC)
            masses += e_to(x - lse, FEW)
        scale = scale / tl.reduce(masses, 0, add)
    blocks = (V + BLOCK - 1) // BLOCK
    for n in range(program % PARTS, blocks, PARTS):
        start = (blocks - 1 - n) * BLOCK
        i = start + d
        x = tl.load(X + i, mask=i < V, other=-float("inf"), eviction_policy="evict_first").to(ACC)
        dx = scale * e_to(x - lse, FEW)
        if (label >= start) & (label < start + BLOCK):
            dx -= tl.where(d == (label - start).to(tl.int32), g * hit, 0.0)
        if S != 0:
            even = tl.full((BLOCK,), 1, ACC)
            if HAS_WEIGHT:
                even = tl.load(WEIGHT + i, mask=i < V, other=0).to(ACC)
            dx = tl.where(wy == wy, dx - EVEN * g * even, float("nan"))
        dx = tl.where(ignored, 0.0, dx)
        dx = rounded(dx, BY_HAND).to(DX.dtype.element_ty)
        tl.store(DX + i, dx, mask=i < V, eviction_policy="evict_first")


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


def walk(x, most):
    """The constants of a kernel that walks over classes, at most so many at a time."""
    block = min(max(triton.next_power_of_2(x.shape[-1]), PER), most)
    warps = min(max(block // 512, 1), 32)
    return {"BLOCK": block, "FEW": x.dtype.itemsize == 2, "num_warps": warps}


def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing):
    x, target = _opaque.readable(logits), _opaque.readable(target)
    weight = None if weight is None else _opaque.readable(weight)
    classes = x.shape[-1]
    loss, lse, wy = (x.new_empty(target.shape, dtype=statistic(x)) for _ in range(3))
    _launch.run(
        forward_kernel, (target.numel(),), x,
        x, target, present(weight, x), loss, lse, wy, classes, **smoothed(label_smoothing, classes),
        PER=PER, **labels(x, weight, ignore_index), **walk(x, BLOCK),
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
        exact = x.dtype.itemsize > 2
        walked = walk(x, EXACT_BLOCK if exact else BLOCK)
        parts = 1 if exact else triton.cdiv(classes, walked["BLOCK"])
        _launch.run(
            backward_kernel, (rows * parts,), x,
            _opaque.readable(g), x, target, present(weight, x), total, lse, dlogits, classes,
            parts, EACH=int(reduction == "none"), **smoothed(label_smoothing, classes),
            EXACT=exact, BY_HAND=x.device.type == "cpu" and x.dtype == torch.bfloat16, **known,
            **walked,
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
