"""A loss of the difference e = x - target as a spec entry: y = reduce(f(e))."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import (
    check_reduction,
    out,
    reduce,
    reduce_adjoint,
    reject_reduction,
)
from bpx.spec import Arg, Case, Op, Options, Reject

# Binary fractions, so that the offsets of the kinks come back exactly from x - target.
CENTRES = np.array([0.5, -1.25, 2.0, -0.375, 3.0])


def sign(e: Any) -> Any:
    return (e.real > 0).astype(np.int8) - (e.real < 0).astype(np.int8)


def difference(
    name: str,
    doc: str,
    f: Callable[..., Any],
    df: Callable[..., Any],
    *,
    keeps: str = "error",
    options: Options | None = None,
    loud: tuple[Options, ...] = (),
    kinks: str = "none",
    at: Callable[[Options], tuple[float, ...]] | None = None,
    check: Callable[[Options], None] | None = None,
    rejects: tuple[Reject, ...] = (),
) -> Op:
    """`df(e, **options)` is f'(e). `at(options)` lists up to five e where f' or f'' jumps; `loud`
    are option sets that differ from the defaults, each drawn with another reduction. Backward needs
    e alone, or, where `keeps` is "sign", its sign alone: -1, 0 or 1, and 0 for NaN."""
    options = {"reduction": "mean", **(options or {})}

    def forward(x: Any, target: Any, *, reduction: str, **chosen: Any) -> Any:
        e = x - target
        loss = f(e, **chosen)
        return reduce(loss, reduction), (e if keeps == "error" else sign(e),)

    def backward(dy: Any, x: Any, target: Any, *, reduction: str, **chosen: Any) -> Any:
        e = x - target
        dloss = reduce_adjoint(dy, e, reduction)  # y = reduce(loss)
        de = dloss * df(e, **chosen)  # loss = f(e)
        return de, -de  # e = x - target

    def cases(draw: Any) -> Iterator[Case]:
        yield Case("mean", {"x": draw(3, 5), "target": draw(3, 5)})
        yield Case("sum", {"x": draw(2, 3, 5), "target": draw(2, 3, 5)}, {"reduction": "sum"})
        yield Case("none", {"x": 2 * draw(2, 7), "target": draw(2, 7)}, {"reduction": "none"})
        yield Case("scalar", {"x": draw(), "target": draw()})
        yield Case("empty mean", {"x": draw(0, 3), "target": draw(0, 3)})
        yield Case("empty none", {"x": draw(0, 3), "target": draw(0, 3)}, {"reduction": "none"})
        yield Case("wide", {"x": 30 * draw(7), "target": draw(7)})
        bad = {"x": np.array([np.nan, np.inf, 0.75, -np.inf]), "target": CENTRES[:4]}
        yield Case("not finite", bad, {"reduction": "none"}, kink="no number, or an infinite one")
        for i, chosen in enumerate(loud):
            chosen = {"reduction": ("none", "sum", "mean")[i % 3], **chosen}
            yield Case(f"loud {i}", {"x": 2 * draw(3, 5), "target": draw(3, 5)}, chosen)
        for i, chosen in enumerate(({}, *loud) if at is not None else ()):
            offsets = np.array(at({**options, **chosen}) if at is not None else ())
            target = CENTRES[: offsets.size]
            arrays = {"x": target + offsets, "target": target}
            yield Case(f"kinks {i}", arrays, {**chosen, "reduction": "none"}, kink=kinks)

    def check_all(dims: Dims, chosen: Options) -> None:
        check_reduction(name, chosen)
        if check is not None:
            check(chosen)

    return Op(
        name=name,
        path=f"losses/{name}",
        doc=doc,
        args=(Arg("x", "*N"), Arg("target", "*N")),
        out=out,
        forward=forward,
        backward=backward,
        cases=cases,
        residuals={keeps: "*N"},
        constant={"sign": "int8"} if keeps == "sign" else {},
        differentiable=("error",) if keeps == "error" else (),
        options=options,
        check=check_all,
        rejects=(
            Reject("target has shape (4,), but dim N is (5,)", {"x": (5,), "target": (4,)}),
            Reject("target has shape (5,), but dim N is (2, 5)", {"x": (2, 5), "target": (5,)}),
            Reject("expected a floating dtype", {"x": (5,), "target": (5,)}, dtypes={"x": "int64"}),
            reject_reduction({"x": (2, 5), "target": (2, 5)}),
            *rejects,
        ),
        bench=rows.ELEMENTS,
        kinks=kinks,
    )
