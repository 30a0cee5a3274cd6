"""Reversible residual blocks, which keep no activations, for JAX."""

import jax
import jax.numpy as jnp
import numpy as np

from bpx.spec import require

ENTRY = "reversible"


def reversible(f, g):
    """The block y1 = x1 + f(params_f, x2), y2 = x2 + g(params_g, y1), whose backward computes x1
    and x2 again from y1 and y2: reversible(f, g)((params_f, params_g), (x1, x2)) -> (y1, y2).

    f, g    functions of a pytree of parameters and one array, which keep shape and dtype; arrays
            that they close over must be constants. Random numbers come from keys in params
    x1, x2  floating arrays

    Works under jit and vmap; reverse mode any number of times. What backward computes has the
    rounding of y1 and y2. Blocks one after another keep the outputs of each: reversible_sequence
    keeps those of the last alone.
    Source: Gomez, Ren, Urtasun, Grosse 2017, "The Reversible Residual Network: Backpropagation
    Without Storing Activations", arXiv:1707.04585, algorithm 1.
    """
    run = reversible_sequence(f, g)
    return lambda params, x: run(jax.tree.map(lambda p: jnp.asarray(p)[None], params), x)


def reversible_sequence(f, g):
    """Blocks as of `reversible`, one after another:
    reversible_sequence(f, g)((params_f, params_g), (x1, x2)) -> (y1, y2), every array in params
    with a leading axis over the blocks. A scan; the memory for backward is params, y1 and y2,
    whatever their number."""

    def forward(params, x):
        def step(x, p):
            x1, x2 = x
            y1 = x1 + _same("f", f(p[0], x2), x1)
            return (y1, x2 + _same("g", g(p[1], y1), x2)), None

        return jax.lax.scan(step, x, params)[0]

    def backward(saved, dy):
        # From the last block, with y1 and y2 known:
        #   x2 = y2 - g(y1),  dy1 += (dg/dy1)^T dy2,  dparams_g = (dg/dparams)^T dy2
        #   x1 = y1 - f(x2),  dy2 += (df/dx2)^T dy1,  dparams_f = (df/dparams)^T dy1
        params, y = saved

        def step(carry, p):
            (y1, y2), (dy1, dy2) = carry
            value, dg, dv = _branch(g, p[1], y1, dy2)
            x2, dy1 = y2 - value, dy1 + dv
            value, df, dv = _branch(f, p[0], x2, dy1)
            return ((y1 - value, x2), (dy1, dy2 + dv)), (df, dg)

        (_, dx), found = jax.lax.scan(step, (y, dy), params, reverse=True)
        found = iter([*found[0], *found[1]])
        dparams = jax.tree.map(
            lambda p: next(found) if _has_gradient(p) else np.zeros(p.shape, jax.dtypes.float0),
            params,
        )
        return dparams, dx

    def keep(params, x):
        y = forward(params, x)
        return y, (params, y)

    run = jax.custom_vjp(forward)
    run.defvjp(keep, backward)

    def call(params, x):
        x = tuple(jnp.asarray(v) for v in x)
        for name, v in zip(("x1", "x2"), x, strict=True):
            require(
                jnp.issubdtype(v.dtype, jnp.floating),
                f"{ENTRY}: {name} has dtype {v.dtype}, expected a floating dtype",
            )
        params = jax.tree.map(jnp.asarray, tuple(params))
        require(
            len(params) == 2, f"{ENTRY}: params has {len(params)} parts, expected those of f, g"
        )
        return run(params, x)

    return call


def _has_gradient(p):
    return jnp.issubdtype(p.dtype, jnp.inexact)


def _same(name, value, like):
    require(
        value.shape == like.shape and value.dtype == like.dtype,
        f"{ENTRY}: {name} gives shape {value.shape} and {value.dtype}, expected {like.shape} and "
        f"{like.dtype}",
    )
    return value


def _branch(f, params, v, dvalue):
    """f(params, v), the gradients of the floating arrays in params, and that of v."""
    leaves, tree = jax.tree.flatten(params)
    asked = [i for i, p in enumerate(leaves) if _has_gradient(p)]

    def of_floats(floats, v):
        full = list(leaves)
        for i, p in zip(asked, floats, strict=True):
            full[i] = p
        return f(jax.tree.unflatten(tree, full), v)

    value, pull = jax.vjp(of_floats, [leaves[i] for i in asked], v)
    return value, *pull(dvalue)
