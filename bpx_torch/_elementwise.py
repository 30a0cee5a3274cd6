"""A row of a derivative table as a torch rule.

f(x, **options) -> y and df(dy, saved, **options) -> dx, where `saved` is x, y for entries that keep
the output, None for those that keep nothing. Both are called in float32 at least. Of an entry that
keeps a mask, mask(x, **options) makes it, f takes it after x, and df has it for `saved`.
"""

from collections.abc import Callable

from bpx.rule import Kernel
from bpx.spec import Op
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.kernels import triton
from bpx_torch.kernels.cpu import elementwise as cpu


def row(
    spec: Op,
    f: Callable,
    df: Callable,
    autocast: str | dict[str, str] = "keep",
    *,
    mask: Callable | None = None,
) -> Rule:
    keeps_y = "y" in spec.residuals
    if ("mask" in spec.residuals) != (mask is not None):
        raise TypeError(f"{spec.name}: a mask goes with a residual of that name")

    def forward(x, **options):
        wide = at_least_float32(x)
        if mask is not None:
            found = mask(wide, **options)
            return f(wide, found, **options).to(x.dtype), (found,)
        y = f(wide, **options).to(x.dtype)
        return y, ((y,) if keeps_y else ())

    def slope_times(v, arrays, residuals, **options):
        kept = residuals[0] if spec.residuals else arrays[0]
        saved = at_least_float32(kept) if kept is not None else None
        return df(at_least_float32(v), saved, **options).to(v.dtype)

    def backward(dy, arrays, residuals, needs, **options):
        return (slope_times(dy, arrays, residuals, **options),)

    def tangent(tangents, arrays, residuals, **options):
        return slope_times(tangents[0], arrays, residuals, **options)

    kernels = (*cpu.kernels(spec), *triton.kernels(spec.name))
    return Rule(spec, (*kernels, Kernel("plain", forward, backward, tangent)), autocast)
