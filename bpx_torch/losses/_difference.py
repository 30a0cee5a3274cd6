"""A loss of the difference e = x - target as a torch rule: y = reduce(f(e)).

f(e, **options) -> loss and df(e, **options) -> f'(e), both in float32 at least; the result has the
dtype of x.
"""

from collections.abc import Callable

import torch

from bpx.rule import Kernel
from bpx.spec import Op
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def difference(spec: Op, f: Callable, df: Callable) -> Rule:
    def error(x, target):
        xf = at_least_float32(x)
        return xf - target.to(xf.dtype)

    def forward(x, target, *, reduction, **options):
        return reduce(f(error(x, target), **options), reduction).to(x.dtype), ()

    def backward(dy, arrays, residuals, needs, *, reduction, **options):
        # dx = f'(e) * dy (over the number of elements in a mean),  dtarget = -dx
        e = error(*arrays)
        dx = each(dy.to(e.dtype), e.numel(), reduction) * df(e, **options)
        return (dx if needs[0] else None), (-dx if needs[1] else None)

    def tangent(tangents, arrays, residuals, *, reduction, **options):
        # dy = reduce(f'(e) * (dx - dtarget))
        e = error(*arrays)
        tx, ttarget = tangents
        te = torch.zeros_like(e)
        te = te if tx is None else te + tx.to(e.dtype)
        te = te if ttarget is None else te - ttarget.to(e.dtype)
        return reduce(df(e, **options) * te, reduction).to(arrays[0].dtype)

    return Rule(spec, (Kernel("plain", forward, backward, tangent),), autocast="float32")
