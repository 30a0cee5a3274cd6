"""What JAX cannot see into, with the derivative of what it can."""

import jax
import jax.numpy as jnp


def seen_as(fast, plain):
    """`fast`, whose derivative is that of `plain`."""

    @jax.custom_jvp
    def f(*args):
        return fast(*args)

    @f.defjvp
    def jvp(primals, tangents):
        return f(*primals), jax.jvp(plain, primals, tangents)[1]

    return f


def seen_as_once(fast, plain, residuals):
    """`fast`, a forward, as `seen_as` has it. A y among the residuals, which have these names, is
    its y and not one more result: that would be kept beside it."""

    def without_y(forward):
        def f(*arrays):
            y, kept = forward(*arrays)
            return y, [r for n, r in zip(residuals, kept, strict=True) if n != "y"]

        return f

    of_others = seen_as(without_y(fast), without_y(plain))

    def with_y(*arrays):
        y, others = of_others(*arrays)
        left = iter(others)
        return y, tuple(y if n == "y" else next(left) for n in residuals)

    return with_y


def seen_as_early(fast, plain, count):
    """`fast`, a forward that may keep gradients behind `count` residuals, as `seen_as` has it. What
    it keeps there has no derivative: a backward that is differentiated is the plain rule's, which
    does not read it."""

    @jax.custom_jvp
    def f(*arrays):
        return fast(*arrays)

    @f.defjvp
    def jvp(primals, tangents):
        y, kept = f(*primals)
        dy, dkept = jax.jvp(plain, primals, tangents)[1]
        return (y, kept), (dy, (*dkept, *jax.tree.map(jnp.zeros_like, kept[count:])))

    return f
