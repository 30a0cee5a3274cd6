"""A row of a derivative table as a torch rule.

f(x, **options) -> y and df(dy, saved, **options) -> dx, where `saved` is x, y for entries that keep
the output, None for those that keep nothing. Both are called in float32 at least.
"""

from collections.abc import Callable

from bpx.rule import Kernel
from bpx.spec import Op
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def row(spec: Op, f: Callable, df: Callable, autocast: str | dict[str, str] = "keep") -> Rule:
    keeps_y = "y" in spec.residuals

    def forward(x, **options):
        y = f(at_least_float32(x), **options).to(x.dtype)
        return y, ((y,) if keeps_y else ())

    def slope_times(v, arrays, residuals, **options):
        kept = residuals[0] if keeps_y else arrays[0]
        saved = at_least_float32(kept) if spec.saves or keeps_y else None
        return df(at_least_float32(v), saved, **options).to(v.dtype)

    def backward(dy, arrays, residuals, needs, **options):
        return (slope_times(dy, arrays, residuals, **options),)

    def tangent(tangents, arrays, residuals, **options):
        return slope_times(tangents[0], arrays, residuals, **options)

    return Rule(spec, (Kernel("plain", forward, backward, tangent),), autocast)
