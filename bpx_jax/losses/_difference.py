"""A loss of the difference e = x - target as a JAX rule: y = reduce(f(e)).

f(e, **options) -> loss and df(e, **options) -> f'(e), both in float32 at least; the result has the
dtype of x.
"""

from collections.abc import Callable

from bpx.rule import Kernel
from bpx.spec import Op
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import each, reduce


def difference(spec: Op, f: Callable, df: Callable) -> Rule:
    def error(x, target):
        xf = at_least_float32(x)
        return xf - target.astype(xf.dtype)

    def forward(x, target, *, reduction, **options):
        return reduce(f(error(x, target), **options), reduction).astype(x.dtype), ()

    def backward(dy, arrays, residuals, needs, *, reduction, **options):
        # dx = f'(e) * dy (over the number of elements in a mean),  dtarget = -dx
        e = error(*arrays)
        dx = each(dy.astype(e.dtype), e.size, reduction) * df(e, **options)
        return dx, -dx

    return Rule(spec, (Kernel("plain", forward, backward),))
