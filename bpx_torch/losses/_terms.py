"""A loss of terms, one from each place of several arrays, as a torch rule: y = reduce(f(arrays)).

f(*arrays, **options) -> loss, and for every argument its partial derivative with the same
arguments, all in float32 at least; the result has the dtype of the first.
"""

from collections.abc import Callable

import torch

from bpx.rule import Kernel
from bpx.spec import Op
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def widened(arrays):
    """The first in float32 at least, the others in its dtype."""
    first = at_least_float32(arrays[0])
    return (first, *(a.to(first.dtype) for a in arrays[1:]))


def terms(
    spec: Op,
    f: Callable,
    partials: tuple[Callable, ...],
    autocast: str | dict[str, str] = "float32",
) -> Rule:
    def forward(*arrays, reduction, **options):
        loss = f(*widened(arrays), **options)
        return reduce(loss, reduction).to(arrays[0].dtype), ()

    def backward(dy, arrays, residuals, needs, *, reduction, **options):
        # d<argument> = partial * dy (over the number of elements in a mean)
        wide = widened(arrays)
        g = each(dy.to(wide[0].dtype), wide[0].numel(), reduction)
        pairs = zip(partials, needs, strict=True)
        return tuple(g * partial(*wide, **options) if n else None for partial, n in pairs)

    def tangent(tangents, arrays, residuals, *, reduction, **options):
        # dy = reduce(the sum of partial * t<argument>)
        wide = widened(arrays)
        moved = torch.zeros_like(wide[0])
        for partial, t in zip(partials, tangents, strict=True):
            moved = moved if t is None else moved + partial(*wide, **options) * t.to(moved.dtype)
        return reduce(moved, reduction).to(arrays[0].dtype)

    return Rule(
        spec,
        (
            Kernel.lazy("cpu", "bpx_torch.kernels.cpu.losses", spec.name),
            Kernel("plain", forward, backward, tangent),
        ),
        autocast,
    )
