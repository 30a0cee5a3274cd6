"""A loss of terms, one from each place of several arrays, as a JAX rule: y = reduce(f(arrays)).

f(*arrays, **options) -> loss, and for every argument its partial derivative with the same
arguments, all in float32 at least; the result has the dtype of the first.
"""

from collections.abc import Callable

from bpx.rule import Kernel
from bpx.spec import Op
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import each, reduce


def widened(arrays):
    """The first in float32 at least, the others in its dtype."""
    first = at_least_float32(arrays[0])
    return (first, *(a.astype(first.dtype) for a in arrays[1:]))


def terms(spec: Op, f: Callable, partials: tuple[Callable, ...]) -> Rule:
    def forward(*arrays, reduction, **options):
        loss = f(*widened(arrays), **options)
        return reduce(loss, reduction).astype(arrays[0].dtype), ()

    def backward(dy, arrays, residuals, needs, *, reduction, **options):
        # d<argument> = partial * dy (over the number of elements in a mean)
        wide = widened(arrays)
        g = each(dy.astype(wide[0].dtype), wide[0].size, reduction)
        return tuple(g * partial(*wide, **options) for partial in partials)

    return Rule(
        spec,
        (
            Kernel.lazy("cpu", "bpx_jax.kernels.cpu.losses", spec.name),
            Kernel("plain", forward, backward),
        ),
    )
