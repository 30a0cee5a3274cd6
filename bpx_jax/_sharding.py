"""What jax.shard_map asks of the arguments of a rule."""

import jax


def varying_alike(arrays):
    """Inside shard_map every argument varies over the mesh axes that any of them varies over: JAX
    wants a gradient to vary as its argument does. The transpose of what is done here is the sum
    over the devices that a replicated weight's gradient needs."""
    if not any(isinstance(a, jax.core.Tracer) for a in arrays):
        return arrays
    over = [frozenset() if a is None else _axes_varied_over(a) for a in arrays]
    union = frozenset().union(*over)
    return tuple(
        a if a is None or axes == union else jax.lax.pcast(a, tuple(union - axes), to="varying")
        for a, axes in zip(arrays, over, strict=True)
    )


def _axes_varied_over(a):
    manual = getattr(jax.typeof(a), "mat", None)
    return frozenset() if manual is None else frozenset(manual.varying)
