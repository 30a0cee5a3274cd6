"""huber for JAX. Maths, shapes and source: bpx/losses/huber.py."""

import jax.numpy as jnp

from bpx.losses.huber import SPEC
from bpx_jax.losses._difference import difference


def f(e, *, delta):
    size = jnp.abs(e)
    return jnp.where(size < delta, 0.5 * jnp.square(e), delta * (size - 0.5 * delta))


def df(e, *, delta):
    # f' = e inside, delta * sign(e) outside; a clip would have second derivative 1/2 at the joint
    return jnp.where(jnp.abs(e) >= delta, delta * jnp.sign(e), e)


RULE = difference(SPEC, f, df)


def huber(x, target, *, reduction="mean", delta=1.0):
    """Huber loss of x - target, reduced. x, target (*N); delta > 0. Maths: bpx/losses/huber.py."""
    return RULE(x, target, reduction=reduction, delta=delta)
