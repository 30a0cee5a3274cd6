"""A loss of terms, one from each place of several arrays, as an entry: y = reduce(f(arrays))."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

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


def terms(
    name: str,
    doc: str,
    args: tuple[Arg, ...],
    f: Callable[..., Any],
    adjoint: Callable[..., Any],
    draws: Callable[..., dict[str, Any]],
    *,
    options: Options | None = None,
    loud: tuple[Options, ...] = (),
    edges: Callable[..., Iterator[Case]] | None = None,
    kinks: str = "none",
    check: Callable[[Options], None] | None = None,
    rejects: tuple[Reject, ...] = (),
) -> Op:
    """`adjoint(dloss, *arrays, **options)` is that of `f`, line by line. `draws(draw, *shape)` are
    generic arrays of one shape; `loud` are option sets that differ from the defaults, each drawn
    with another reduction; `edges(draw)` are the cases of this entry alone."""
    names = [arg.name for arg in args]

    def forward(*arrays: Any, reduction: str, **chosen: Any) -> Any:
        loss = f(*arrays, **chosen)
        return reduce(loss, reduction), ()

    def backward(dy: Any, *arrays: Any, reduction: str, **chosen: Any) -> Any:
        dloss = reduce_adjoint(dy, arrays[0], reduction)  # y = reduce(loss)
        return adjoint(dloss, *arrays, **chosen)  # loss = f(arrays)

    def cases(draw: Any) -> Iterator[Case]:
        yield Case("mean", draws(draw, 3, 5))
        yield Case("sum", draws(draw, 2, 3), {"reduction": "sum"})
        yield Case("none", draws(draw, 7), {"reduction": "none"})
        yield Case("empty mean", draws(draw, 0, 3))
        yield Case("one", draws(draw, 1))
        for i, chosen in enumerate(loud):
            chosen = {"reduction": ("none", "sum", "mean")[i % 3], **chosen}
            yield Case(f"loud {i}", draws(draw, 2, 4), chosen)
        yield from () if edges is None else edges(draw)

    def check_all(dims: Dims, chosen: Options) -> None:
        check_reduction(name, chosen)
        if check is not None:
            check(chosen)

    fits = dict.fromkeys(names, (2, 5))
    return Op(
        name=name,
        path=f"losses/{name}",
        doc=doc,
        args=args,
        out=out,
        forward=forward,
        backward=backward,
        cases=cases,
        saves=tuple(names),
        options={**(options or {}), "reduction": "mean"},
        check=check_all,
        rejects=(
            Reject(f"{names[1]} has shape (5,), but dim N is (2, 5)", {**fits, names[1]: (5,)}),
            Reject("expected a floating dtype", fits, dtypes={names[0]: "int64"}),
            reject_reduction(fits),
            *rejects,
        ),
        bench=rows.ELEMENTS,
        kinks=kinks,
    )
