"""A row of a derivative table as a spec entry: y = f(x), dx = dy * f'(x), element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject

# The edges of float32's exp, and values where a tail underflows or would overflow.
TAILS = (-1e4, -95.0, -30.0, -9.0, -1e-4, 1e-4, 9.0, 30.0, 95.0, 1e4)


def row(
    name: str,
    path: str,
    doc: str,
    f: Callable[..., Any],
    df: Callable[..., Any],
    *,
    saves: str = "x",
    mask: Callable[..., Any] | None = None,
    kinks: str = "none",
    at: Callable[[Options], tuple[float, ...]] | None = None,
    tails: tuple[float, ...] = TAILS,
    options: Options | None = None,
    loud: tuple[Options, ...] = (),
    check: Callable[[Dims, Options], None] | None = None,
    rejects: tuple[Reject, ...] = (),
    analytic: bool = True,
    surrogate: str = "",
) -> Op:
    """`df(x, **options)` is f'(x), or what takes its place in a surrogate. `saves` is "x" or "y":
    what a rule may keep; "" where df needs nothing. With `mask(x, **options)`, of booleans on which
    alone df depends, a rule keeps that. `kinks` states the value chosen where f' jumps,
    `at(options)` lists those points; `loud` are option sets that differ from the defaults."""

    def forward(x: Any, **chosen: Any) -> Any:
        y = f(x, **chosen)
        if mask is not None:
            return y, (mask(x.real, **chosen),)
        return y, ((y,) if saves == "y" else ())

    def backward(dy: Any, x: Any, **chosen: Any) -> Any:
        return (dy * df(x, **chosen),)

    def cases(draw: Any) -> Iterator[Case]:
        yield Case("2d", {"x": draw(3, 5)})
        yield Case("wide", {"x": 4 * draw(2, 3, 7)})
        yield Case("scalar", {"x": draw()})
        yield Case("empty", {"x": draw(0, 3)})
        yield Case("tails", {"x": np.array(tails)})
        for chosen in loud:
            yield Case("loud " + " ".join(map(str, chosen)), {"x": 2 * draw(3, 5)}, chosen)
        for chosen in ({}, *loud):
            if at is None:
                break
            points = at({**(options or {}), **chosen})
            yield Case(f"kinks {len(chosen)}", {"x": np.array(points)}, chosen, kink=kinks)

    return Op(
        name=name,
        path=path,
        doc=doc,
        args=(Arg("x", "*N"),),
        out="*N",
        forward=forward,
        backward=backward,
        cases=cases,
        residuals={"mask": "*N"} if mask else {"y": "*N"} if saves == "y" else {},
        saves=("x",) if saves == "x" and not mask else (),
        constant={"mask": "bool"} if mask else {},
        options=options or {},
        check=check,
        rejects=(
            Reject("x is None, expected (*N)", {"x": None}),
            Reject("unknown option 'inplace'", {"x": (2, 3)}, {"inplace": True}),
            *rejects,
        ),
        bench=rows.ELEMENTS,
        elementwise=True,
        analytic=analytic,
        kinks=kinks,
        surrogate=surrogate,
    )
