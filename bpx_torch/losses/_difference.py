"""A loss of the difference e = x - target as a torch rule: y = reduce(f(e)).

f(e, **options) -> loss and df(e, **options) -> f'(e), both in float32 at least; the result has the
dtype of x. `keep(e)` is what backward has in place of e, and what df then takes.
"""

from collections.abc import Callable
from dataclasses import replace

from bpx.rule import Kernel
from bpx.spec import Op
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def difference(spec: Op, f: Callable, df: Callable, keep: Callable | None = None) -> Rule:
    def forward(x, target, *, reduction, **options):
        xf = at_least_float32(x)
        e = xf - target.to(xf.dtype)
        y = reduce(f(e, **options), reduction).to(x.dtype)
        return y, (e if keep is None else keep(e),)

    def backward(dy, arrays, residuals, needs, *, reduction, **options):
        # dx = f'(e) * dy (over the number of elements in a mean),  dtarget = -dx
        (kept,), dy = residuals, at_least_float32(dy)
        dx = each(dy, kept.numel(), reduction) * df(kept.to(dy.dtype), **options)
        return (dx if needs[0] else None), (-dx if needs[1] else None)

    def error_tangent(tangents):
        # de = dx - dtarget
        tx, ttarget = (None if t is None else at_least_float32(t) for t in tangents)
        if tx is None:
            return -ttarget
        return tx if ttarget is None else tx - ttarget.to(tx.dtype)

    def tangent(tangents, arrays, residuals, *, reduction, **options):
        # dy = reduce(f'(e) * de)
        te = error_tangent(tangents)
        return reduce(df(residuals[0].to(te.dtype), **options) * te, reduction)

    def residuals_backward(dresiduals, arrays, residuals, needs, **options):
        # e = x - target
        (de,) = dresiduals
        return (de if needs[0] else None), (-de if needs[1] else None)

    def residuals_tangent(tangents, arrays, residuals, **options):
        return (error_tangent(tangents).to(residuals[0].dtype),)

    plain = Kernel("plain", forward, backward, tangent)
    if keep is None:
        plain = replace(
            plain, residuals_backward=residuals_backward, residuals_tangent=residuals_tangent
        )
    return Rule(
        spec,
        (Kernel.lazy("cpu", "bpx_torch.kernels.cpu.losses", spec.name), plain),
        autocast="float32",
    )
