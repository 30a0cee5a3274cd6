"""Scaled dot-product attention, with grouped heads, masks, a bias, a softcap and dropout.

    z = scale query key^T                 one key head for H / K query heads in a row
    s = softcap tanh(z / softcap) + bias  z + bias for softcap None
    p = exp(s) / sum exp(s)               over the keys j that query i may see, 0 for the others
    y = (p * drop) value                  top = max s, mass = log sum exp(s - top)

Query i sees key j where `mask` is True; with `causal` only j <= i, with window = (left, right) only
i - left <= j <= i + right (None: no limit on that side). Positions count from the first query and
the first key, as in torch and jax.nn, whether or not T = S. A query that sees no key, or only keys
of bias -inf, gives y = 0, zero gradients and top = mass = 0. bias and mask have size 1 or the full
size in each dim; dbias is the sum over what they were broadcast to. scale None is 1 / sqrt(D).
Drop is 1 / (1 - dropout_p), or 0 where the 32 random bits at row (b H + h) T + i, column j of
`dropout_key` (bpx.random.words) are below dropout_p 2^32: no mask is kept. What is kept is linear
in T: y, top and mass, as top + mass is rounded by more than 1 - p where top is large and p near 1.
Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, section 3.2; backward
from them: Dao et al. 2022, "FlashAttention", arXiv:2205.14135, algorithm 4; shared key heads:
Ainslie et al. 2023, arXiv:2305.13245; softcap: Gemma Team 2024, arXiv:2408.00118, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import random
from bpx.dims import Dims
from bpx.layers._attention import factor, limits, scale_of, threshold
from bpx.spec import Arg, Case, Op, Options, Reject, number, require

FULL = ("B", "H", "T", "S")


def visible(shape: Any, mask: Any, causal: bool, window: Any) -> Any:
    """True where a query sees a key: booleans (B, H, T, S)."""
    offset = np.arange(shape[3]) - np.arange(shape[2])[:, None]
    left, right = limits(causal, window)
    seen = np.ones(shape, bool) if mask is None else np.broadcast_to(mask, shape)
    if left is not None:
        seen = seen & (offset >= -left)
    return seen if right is None else seen & (offset <= right)


def dropped(shape: Any, dropout_key: Any, dropout_p: float) -> Any:
    """What dropout multiplies by: 0 or 1 / (1 - dropout_p)."""
    if dropout_p == 0:
        return np.ones(shape)
    rows = np.arange(math.prod(shape[:3])).reshape(*shape[:3], 1)
    word = random.words(dropout_key, rows, np.arange(shape[3]))
    return np.where(word.astype(np.uint64) >= threshold(dropout_p), factor(dropout_p), 0.0)


def over_groups(x: Any, groups: int) -> Any:
    """The sum over the query heads of one key head: (B, H, ...) to (B, K, ...)."""
    return x.reshape(x.shape[0], x.shape[1] // groups, groups, *x.shape[2:]).sum(axis=2)


def to_shape_of(like: Any, x: Any) -> Any:
    """The adjoint of broadcasting `like` to the shape of x."""
    axes = tuple(i for i, n in enumerate(like.shape) if n == 1)
    return x.sum(axis=axes, keepdims=True)


def _steps(query: Any, key: Any, value: Any, bias: Any, mask: Any, **o: Any) -> dict[str, Any]:
    """Every intermediate of forward, for backward to start from."""
    groups = query.shape[1] // key.shape[1] if key.shape[1] else 1
    shape = (*query.shape[:3], key.shape[2])
    keys, values = np.repeat(key, groups, axis=1), np.repeat(value, groups, axis=1)
    scale, c = scale_of(o["scale"], query.shape[3]), o["softcap"]
    z = (query @ keys.swapaxes(2, 3)) * scale
    t = None if c is None else np.tanh(z / c)
    capped = z if t is None else c * t
    s = capped if bias is None else capped + bias
    seen = visible(shape, mask, o["causal"], o["window"])
    largest = np.max(s.real, axis=3, keepdims=True, initial=-np.inf, where=seen)
    m = np.where(np.isneginf(largest), 0.0, largest)  # any constant will do: y is without it
    e = np.where(seen, np.exp(np.where(seen, s - m, 0.0)), 0.0)
    total = e.sum(axis=3, keepdims=True)
    some = np.where(total == 0, 1.0, total)
    p = e / some
    drop = dropped(shape, o["dropout_key"], o["dropout_p"])
    w = p * drop
    top, mass = m[..., 0], np.log(some)[..., 0]
    return locals()


def forward(
    query: Any, key: Any, value: Any, bias: Any, mask: Any, dropout_key: Any, **options: Any
) -> Any:
    f = _steps(query, key, value, bias, mask, dropout_key=dropout_key, **options)
    y = f["w"] @ f["values"]
    return y, (y, f["top"], f["mass"])


def backward(
    dy: Any,
    query: Any,
    key: Any,
    value: Any,
    bias: Any,
    mask: Any,
    dropout_key: Any,
    **options: Any,
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    f = _steps(query, key, value, bias, mask, dropout_key=dropout_key, **options)
    dw = dy @ f["values"].swapaxes(2, 3)  # y = w @ values
    dvalues = f["w"].swapaxes(2, 3) @ dy
    dp = dw * f["drop"]  # w = p * drop
    de = dp / f["some"]  # p = e / some
    dsome = -(dp * f["e"]).sum(axis=3, keepdims=True) / f["some"] ** 2
    dtotal = np.where(f["total"] == 0, 0.0, dsome)  # some = where(total == 0, 1, total)
    de = de + dtotal  # total = e.sum
    ds = np.where(f["seen"], de * f["e"], 0.0)  # e = where(seen, exp(s - m), 0)
    dbias = None if bias is None else to_shape_of(bias, ds)  # s = capped + bias
    dz = ds
    if f["t"] is not None:
        dt = ds * f["c"]  # capped = c t
        dz = dt * (1 - f["t"] ** 2) / f["c"]  # t = tanh(z / c)
    dproduct = dz * f["scale"]  # z = (query @ keys^T) * scale
    dquery = dproduct @ f["keys"]
    dkeys = dproduct.swapaxes(2, 3) @ query
    dkey, dvalue = over_groups(dkeys, f["groups"]), over_groups(dvalues, f["groups"])  # repeat
    return dquery, dkey, dvalue, dbias, None, None


def check(dims: Dims, o: Options) -> None:
    for name in ("scale", "softcap"):
        if o[name] is not None:
            number("attention", name, o[name])
    c, p, window = o["softcap"], o["dropout_p"], o["window"]
    require(c is None or c > 0, f"attention: softcap is {c}, expected None or a number above 0")
    number("attention", "dropout_p", p)
    require(0 <= p <= 1, f"attention: dropout_p is {p}, expected 0 <= dropout_p <= 1")
    require(type(o["causal"]) is bool, f"attention: causal is {o['causal']!r}, expected a bool")
    sides = window if isinstance(window, tuple) and len(window) == 2 else (-1,)
    require(
        window is None or all(n is None or (type(n) is int and n >= 0) for n in sides),
        f"attention: window is {window!r}, expected None or (left, right), each None or an int "
        "of at least 0",
    )
    require(
        dims["H"] == dims["K"] or (dims["H"] > 0 < dims["K"] and dims["H"] % dims["K"] == 0),
        f"attention: query has {dims['H']} heads, expected a multiple of key's {dims['K']}"
        + " above 0" * (not dims["H"]),
    )
    for name, mark in (("bias", "1"), ("mask", "2")):
        if f"B{mark}" in dims:
            shape = tuple(dims[f"{d}{mark}"] for d in FULL)
            full = tuple(dims[d] for d in FULL)
            require(
                all(n in (1, m) for n, m in zip(shape, full, strict=True)),
                f"attention: {name} has shape {shape}, expected 1 or the size in each of {full}",
            )
    require(
        p == 0 or "W" in dims,
        f"attention: dropout_key is None, expected a key for dropout_p {p}",
    )
    require(dims.get("W", 2) == 2, f"attention: dropout_key has {dims.get('W')} words, expected 2")


def cases(draw: Any) -> Iterator[Case]:
    def qkv(b: int, h: int, k: int, t: int, s: int, d: int, e: int) -> dict[str, Any]:
        return {"query": draw(b, h, t, d), "key": draw(b, k, s, d), "value": draw(b, k, s, e)}

    def mask(*shape: int) -> Any:
        return draw.index(4, *shape) > 0

    key = np.array([3, 11], np.uint32)
    arrays = {**qkv(1, 4, 2, 3, 5, 6, 7), "bias": draw(1, 4, 1, 5), "mask": mask(1, 1, 3, 5)}
    options: Options = {"softcap": 0.9, "dropout_p": 0.3, "scale": 0.7}
    yield Case("generic", {**arrays, "dropout_key": key}, options)
    yield Case("causal", {**qkv(2, 3, 3, 5, 4, 2, 2), "bias": draw(2, 1, 1, 4)}, {"causal": True})
    wide = {**qkv(2, 6, 2, 4, 7, 3, 3), "bias": draw(2, 1, 4, 7), "mask": mask(1, 6, 1, 7)}
    yield Case("window", wide, {"window": (1, 2)})
    some = mask(2, 1, 4, 3)
    some[0, 0, 1] = some[1, 0, 3] = some[..., 2] = False
    hidden = {**qkv(2, 4, 1, 4, 3, 2, 5), "bias": draw(1, 1, 4, 3), "mask": some}
    yield Case("rows that see nothing", hidden, {"softcap": 2.0})
    gone: Options = {"dropout_p": 1.0, "window": (None, 0)}
    yield Case("all dropped", {**qkv(1, 1, 1, 2, 3, 4, 2), "dropout_key": key}, gone)
    capped = {**qkv(2, 4, 2, 6, 7, 3, 2), "mask": mask(2, 1, 6, 7)}
    yield Case("softcap, no bias", capped, {"softcap": 1.5, "window": (3, 2)})
    yield Case("one key", qkv(1, 2, 1, 1, 1, 1, 1), cancels=4.0)  # dquery and dkey are 0
    yield Case("no keys", qkv(1, 2, 2, 3, 0, 2, 3))


GIVEN = {"query": (2, 4, 3, 6), "key": (2, 2, 5, 6), "value": (2, 2, 5, 7)}
ROW = {"B": 1, "T": 512, "D": 64, "S": 512, "E": 64, "W": 2}
ROW |= {f"{d}{mark}": 1 for d in FULL for mark in "12"} | {"S2": 512}

SPEC = Op(
    name="attention",
    path="layers/attention",
    doc=__doc__,
    args=(
        Arg("query", "B H T D"),
        Arg("key", "B K S D"),
        Arg("value", "B K S E"),
        Arg("bias", "B1 H1 T1 S1", optional=True),
        Arg("mask", "B2 H2 T2 S2", kind="mask", optional=True),
        Arg("dropout_key", "W", kind="key", optional=True),
    ),
    out="B H T E",
    residuals={"y": "B H T E", "top": "B H T", "mass": "B H T"},
    saves=("query", "key", "value", "bias", "mask", "dropout_key"),
    options={"causal": False, "window": None, "scale": None, "softcap": None, "dropout_p": 0.0},
    check=check,
    rejects=(
        Reject(
            "query has 4 heads, expected a multiple of key's 3",
            GIVEN | {"key": (2, 3, 5, 6), "value": (2, 3, 5, 7)},
        ),
        Reject(
            "query has 0 heads, expected a multiple of key's 2 above 0",
            GIVEN | {"query": (2, 0, 3, 6)},
        ),
        Reject("value has shape (2, 2, 4, 7), but dim S is 5", GIVEN | {"value": (2, 2, 4, 7)}),
        Reject("query has shape (4, 3, 6), expected (B H T D)", GIVEN | {"query": (4, 3, 6)}),
        Reject("bias has shape (2, 2, 3, 5), expected 1 or", GIVEN | {"bias": (2, 2, 3, 5)}),
        Reject("mask has shape (1, 1, 5, 3), expected 1 or", GIVEN | {"mask": (1, 1, 5, 3)}),
        Reject("mask has dtype", GIVEN | {"mask": (1, 1, 3, 5)}, dtypes={"mask": "float64"}),
        Reject(
            "dropout_key has dtype", GIVEN | {"dropout_key": (2,)}, dtypes={"dropout_key": "int32"}
        ),
        Reject("dropout_key has 3 words, expected 2", GIVEN | {"dropout_key": (3,)}),
        Reject("dropout_key is None, expected a key for dropout_p 0.5", GIVEN, {"dropout_p": 0.5}),
        Reject("dropout_p is 1.5, expected 0 <= dropout_p <= 1", GIVEN, {"dropout_p": 1.5}),
        Reject("softcap is 0, expected None or a number above 0", GIVEN, {"softcap": 0}),
        Reject("scale is '1', expected a number", GIVEN, {"scale": "1"}),
        Reject("causal is 1, expected a bool", GIVEN, {"causal": 1}),
        Reject("window is 3, expected None or (left, right)", GIVEN, {"window": 3}),
        Reject("window is (1, -1), expected None or (left, right)", GIVEN, {"window": (1, -1)}),
        Reject("it takes ['causal'", GIVEN, {"is_causal": True}),
    ),
    limits={"typical": (1.05, 0.35), "large": (1.05, 0.35)},
    bench={
        "small": {"B": 1, "H": 2, "K": 2, "T": 16, "S": 16, "D": 16, "E": 16, "causal": True},
        "typical": {"B": 1, "H": 8, "K": 8, "T": 512, "S": 512, "D": 64, "E": 64, "causal": True},
        "large": {"B": 1, "H": 8, "K": 8, "T": 2048, "S": 2048, "D": 64, "E": 64, "causal": True},
        "odd": {"B": 2, "H": 6, "K": 2, "T": 129, "S": 129, "D": 40, "E": 40, "causal": True},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
