r"""Linear layer and cross-entropy in one, without the logits in memory.

    x    = x, 0 where target is ignore_index
    z    = x weight^T + bias                   `chunk` rows of weight at a time
    z    = softcap tanh(z / softcap)           with a softcap
    lse  = log(sum_V(exp(z)))
    wy   = class_weight[target], 0 where target is ignore_index
    loss = cross_entropy(z, target, class_weight) + z_loss wy lse^2
    y    = sum(loss) / count | sum(loss) | loss

The cross-entropy of a row, with class weights, label smoothing and ignored labels, is that of
cross_entropy. The z-loss of a row weighs as much as the row's label and is reduced with it: in a
mean, y is the weighted mean of both. count is sum(wy) as in cross_entropy (the mean over rows that
count, without class weights), or num_items where that is given: the number of labels of a whole
batch, say, of which x is a part. Where the labels' weights sum to 0, a mean over them is 0 with
gradient 0. An ignored row has loss 0 and adds 0 to every gradient, whatever x holds there. A label
outside 0 <= target < V raises where its value can be seen; elsewhere its loss and every gradient
that it enters are NaN.

x and the result have one dtype; products are taken in the dtype of weight and summed in float32 at
least, in which everything else is computed. Kept for backward are the arguments and two numbers for
each row, the top of its logits and log(sum_V(exp(z - top))): lse itself is rounded by |lse| eps,
and exp(z - lse) with it, which is more than p - 1 where a row is nearly certain. Backward computes
the logits again, `chunk` columns at a time, and scales nothing in place, so that it can be called
twice. The largest array is rows x chunk, or as large as weight. A kernel may take blocks of rows of
that size instead, and the gradients at dy = 1 in forward, which backward scales.
Source: Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models",
arXiv:2411.09009, section 4 (the recomputation); z-loss: Chowdhery et al. 2022, "PaLM",
arXiv:2204.02311, section 5; softcap: Gemma Team 2024, "Gemma 2", arXiv:2408.00118, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers import linear
from bpx.losses import cross_entropy
from bpx.losses._reduction import check_reduction, out, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject, number, require

NAME = "linear_cross_entropy"


def _parts(bias: Any, classes: int, chunk: int) -> Iterator[tuple[slice, Any]]:
    """Every chunk of the vocabulary with its bias."""
    for start in range(0, classes, chunk):
        part = slice(start, start + chunk)
        yield part, None if bias is None else bias[part]


def _lines(x: Any, weight: Any, target: Any, bias: Any, class_weight: Any, options: Options) -> Any:
    ignore_index, cap = options["ignore_index"], options["softcap"]
    keep = np.full(target.shape, True) if ignore_index is None else target != ignore_index
    x = np.where(keep[..., None], x, 0)
    parts = _parts(bias, len(weight), options["chunk"])
    z = np.concatenate([linear.forward(x, weight[part], b)[0] for part, b in parts], -1)
    z = z if cap is None else cap * np.tanh(z / cap)
    label = np.where(keep, target, 0)
    wy = np.where(keep, 1.0 if class_weight is None else class_weight[label], 0)
    total = wy.sum() if options["num_items"] is None else options["num_items"]
    return keep, x, z, label, wy, total


def _of_rows(options: Options) -> Options:
    own = {name: options[name] for name in ("ignore_index", "label_smoothing")}
    return {**own, "reduction": "none"}


def forward(
    x: Any, weight: Any, target: Any, bias: Any = None, class_weight: Any = None, **options: Any
) -> Any:
    keep, _, z, _, wy, total = _lines(x, weight, target, bias, class_weight, options)
    loss, (lse,) = cross_entropy.forward(z, target, class_weight, **_of_rows(options))
    loss = loss + options["z_loss"] * wy * np.where(keep, lse * lse, 0)
    top = z.real.max(-1)
    kept = top, np.log(np.exp(z - top[..., None]).sum(-1))
    if options["reduction"] == "none":
        return loss, kept
    if options["reduction"] == "sum":
        return loss.sum(), kept
    return (loss.sum() / total if total != 0 else 0 * total), kept


def backward(
    dy: Any,
    x: Any,
    weight: Any,
    target: Any,
    bias: Any = None,
    class_weight: Any = None,
    **options: Any,
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    given = x, weight, target, bias, class_weight
    keep, x, z, label, wy, total = _lines(*given, options)
    cap, z_loss = options["softcap"], options["z_loss"]
    dwy: Any = np.zeros(wy.shape)
    dloss = np.broadcast_to(dy, wy.shape)
    loss, (top, mass) = forward(*given, **{**options, "reduction": "none", "num_items": None})
    lse = top + mass
    if options["reduction"] == "mean":
        if total == 0:
            return tuple(
                None if i == 2 or a is None else np.zeros_like(a) for i, a in enumerate(given)
            )
        dloss = dloss / total  # y = sum(loss) / total
        if options["num_items"] is None:
            dwy = dwy - dy * loss.sum() / total**2  # total = sum(wy)
    # loss = loss + z_loss * wy * where(keep, lse * lse, 0)
    dwy = dwy + dloss * z_loss * np.where(keep, lse * lse, 0)
    dlse = np.where(keep, 2 * dloss * z_loss * wy * lse, 0)
    # loss, lse = cross_entropy(z, target, class_weight);  lse = log(sum(exp(z)))
    dz, _, dcw = cross_entropy.backward(dloss, z, target, class_weight, **_of_rows(options))
    dz = dz + dlse[..., None] * np.exp(z - lse[..., None])
    if class_weight is not None:
        np.add.at(dcw, label[keep], dwy[keep])  # wy = where(keep, class_weight[label], 0)
    if cap is not None:
        dz = dz * (1 - (z / cap) ** 2)  # z = cap * tanh(z / cap)
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    dbias = None if bias is None else np.zeros_like(bias)
    for part, b in _parts(bias, len(weight), options["chunk"]):
        found = linear.backward(dz[..., part], x, weight[part], b)  # z = x weight^T + bias
        dx, dweight[part] = dx + found[0], found[1]
        if dbias is not None:
            dbias[part] = found[2]
    return np.where(keep[..., None], dx, 0), dweight, None, dbias, dcw  # x = where(keep, x, 0)


def cases(draw: Any) -> Iterator[Case]:
    def arrays(v: int, d: int, *rows: int, bias: bool = False, cw: bool = False) -> dict[str, Any]:
        return {
            "x": draw(*rows, d),
            "weight": draw(v, d),
            "target": draw.index(v, *rows),
            "bias": draw(v) if bias else None,
            "class_weight": 0.5 + draw.uniform(v) if cw else None,
        }

    def ignoring(found: dict[str, Any], places: list[int], label: int = -100) -> dict[str, Any]:
        target = found["target"].copy()
        target.reshape(-1)[places] = label
        return {**found, "target": target}

    whole = {"label_smoothing": 0.2, "softcap": 2.0, "z_loss": 0.1}
    every = {**whole, "chunk": 3}
    yield Case("mean", arrays(7, 4, 2, 3, bias=True, cw=True), whole)
    yield Case("in chunks", arrays(7, 4, 5, bias=True, cw=True), {**every, "reduction": "sum"})
    found = ignoring(arrays(6, 3, 5, cw=True), [0, 3], 2)
    options = {"reduction": "sum", "ignore_index": 2, "chunk": 2, "label_smoothing": 0.3}
    yield Case("sum ignored", found, options)
    yield Case("no weights", ignoring(arrays(7, 4, 2, 3, bias=True), [4]), every)
    yield Case("none", arrays(5, 3, 2, 2, bias=True), {"reduction": "none", "z_loss": 0.3})
    yield Case("one row", arrays(4, 5, cw=True), {"softcap": 1.5, "num_items": 3, "z_loss": 0.2})
    masked = arrays(8, 3, 4, bias=True)
    masked["target"] = masked["target"] % 3
    masked["bias"][3:] = -np.inf  # the last of the first chunk, and all of the second
    why = "no differences through -inf"
    yield Case("masked classes", masked, {"chunk": 4}, kink=why)
    why = "every label is ignored"
    none_left = ignoring(arrays(4, 3, 2, bias=True, cw=True), [0, 1])
    yield Case("all ignored", none_left, every, constant=why)
    yield Case("no rows", arrays(4, 3, 0, bias=True), {"chunk": 2})


def check(dims: Dims, o: Options) -> None:
    check_reduction(NAME, o)
    require(dims["V"] > 0, f"{NAME}: weight has 0 rows, expected at least 1")
    s, cap, items, chunk = (o[n] for n in ("label_smoothing", "softcap", "num_items", "chunk"))
    number(NAME, "label_smoothing", s)
    require(0 <= s <= 1, f"{NAME}: label_smoothing is {s}, expected 0 to 1")
    number(NAME, "z_loss", o["z_loss"])
    require(o["z_loss"] >= 0, f"{NAME}: z_loss is {o['z_loss']}, expected at least 0")
    for name, value in (("softcap", cap), ("num_items", items)):
        if value is not None:
            number(NAME, name, value)
            require(value > 0, f"{NAME}: {name} is {value}, expected a number above 0, or None")
    require(
        items is None or o["reduction"] == "mean",
        f"{NAME}: num_items is {items} with reduction {o['reduction']!r}, expected 'mean'",
    )
    whole = isinstance(chunk, int) and not isinstance(chunk, bool) and chunk > 0
    require(whole, f"{NAME}: chunk is {chunk!r}, expected an integer above 0")


_SHAPES: dict[str, Any] = {"x": (3, 4), "weight": (5, 4), "target": (3,)}

SPEC = Op(
    name=NAME,
    path="fused/linear_cross_entropy",
    doc=__doc__,
    args=(
        Arg("x", "*N D"),
        Arg("weight", "V D"),
        Arg("target", "*N", kind="index", below="V", ignore="ignore_index"),
        Arg("bias", "V", optional=True),
        Arg("class_weight", "V", optional=True),
    ),
    out=out,
    residuals={"top": "*N", "mass": "*N"},
    saves=("x", "weight", "target", "bias", "class_weight"),
    options={
        "ignore_index": -100,
        "reduction": "mean",
        "label_smoothing": 0.0,
        "softcap": None,
        "z_loss": 0.0,
        "num_items": None,
        "chunk": 4096,
    },
    check=check,
    rejects=(
        Reject("weight has shape (5, 3), but dim D is 4", {**_SHAPES, "weight": (5, 3)}),
        Reject("target has shape (2,), but dim N is (3,)", {**_SHAPES, "target": (2,)}),
        Reject("bias has shape (4,), but dim V is 5", {**_SHAPES, "bias": (4,)}),
        Reject("class_weight has shape (4,), but dim V is 5", {**_SHAPES, "class_weight": (4,)}),
        Reject("weight has 0 rows, expected at least 1", {**_SHAPES, "weight": (0, 4)}),
        Reject("label_smoothing is 1.5, expected 0 to 1", _SHAPES, {"label_smoothing": 1.5}),
        Reject("z_loss is -0.1, expected at least 0", _SHAPES, {"z_loss": -0.1}),
        Reject("softcap is 0, expected a number above 0", _SHAPES, {"softcap": 0}),
        Reject("num_items is 0, expected a number above 0", _SHAPES, {"num_items": 0}),
        Reject("num_items is 3 with", _SHAPES, {"num_items": 3, "reduction": "sum"}),
        Reject("chunk is 0, expected an integer above 0", _SHAPES, {"chunk": 0}),
        Reject("chunk is 2.5, expected an integer above 0", _SHAPES, {"chunk": 2.5}),
        reject_reduction(_SHAPES),
        Reject("target holds 5, expected 0 <= target < 5", _SHAPES, values={"target": [0, 5, 2]}),
        Reject("expected an integer dtype", _SHAPES, dtypes={"target": "float32"}),
    ),
    bench={
        "small": {"N": 64, "D": 64, "V": 1000},
        "typical": {"N": 512, "D": 256, "V": 8000},
        "large": {"N": 4096, "D": 512, "V": 32000},
        "odd": {"N": 101, "D": 67, "V": 1003},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
