"""A loss of the difference e = x - target as a JAX rule: y = reduce(f(e)).

f(e, **options) -> loss and df(e, **options) -> f'(e), both in float32 at least; the result has the
dtype of x. `keep(e)` is what backward has in place of e, and what df then takes.
"""

from collections.abc import Callable

from bpx.rule import Kernel
from bpx.spec import Op
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import each, reduce


def difference(
    spec: Op, f: Callable, df: Callable, keep: Callable = lambda e: e, trim: dict | None = None
) -> Rule:
    def forward(x, target, *, reduction, **options):
        xf = at_least_float32(x)
        e = xf - target.astype(xf.dtype)
        return reduce(f(e, **options), reduction).astype(x.dtype), (keep(e),)

    def backward(dy, arrays, residuals, needs, *, reduction, **options):
        # dx = f'(e) * dy (over the number of elements in a mean),  dtarget = -dx
        (kept,), dy = residuals, at_least_float32(dy)
        dx = each(dy, kept.size, reduction) * df(kept.astype(dy.dtype), **options)
        return dx, -dx

    return Rule(
        spec,
        (
            Kernel.lazy("cpu", "bpx_jax.kernels.cpu.losses", spec.name),
            Kernel("plain", forward, backward),
        ),
        trim,
    )
