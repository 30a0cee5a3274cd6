"""Reversible blocks in JAX: gradients of the plain computation, memory, keys, errors."""

import numpy as np
import pytest

from bpx.spec import SpecError

D = 4


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def close(got, want, rtol=1e-11):
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=rtol, atol=rtol)


def jax_problem(jax, depth):
    rng = np.random.default_rng(5)
    jnp = jax.numpy
    f = lambda p, x: jnp.tanh(x @ p["w"].T) * p["n"].astype(x.dtype)  # noqa: E731
    g = lambda w, x: jnp.sin(x @ w)  # noqa: E731
    w = [jnp.asarray(rng.standard_normal((depth, D, D))) for _ in range(2)]
    params = {"w": w[0], "n": jnp.arange(1, depth + 1)}, w[1]
    x = tuple(jnp.asarray(rng.standard_normal((3, D))) for _ in range(2))
    return f, g, params, x


def plain(f, g, params, x):
    x1, x2 = x
    for i in range(len(params[1])):
        p = jax_at(params, i)
        x1 = x1 + f(p[0], x2)
        x2 = x2 + g(p[1], x1)
    return x1, x2


def jax_at(params, i):
    return {name: p[i] for name, p in params[0].items()}, params[1][i]


def test_jax_gradients_are_those_of_the_plain_blocks(jax):
    """First and second derivatives of a sequence; the first of blocks one by one."""
    from bpx_jax import reversible, reversible_sequence

    f, g, params, x = jax_problem(jax, 3)

    def one_by_one(params, x):
        for i in range(3):
            x = reversible(f, g)(jax_at(params, i), x)
        return x

    def loss(run, w, x):
        y1, y2 = run(({"w": w[0], "n": params[0]["n"]}, w[1]), x)
        return (jax.numpy.sin(y1) * y2).sum()

    def first(run):
        return jax.grad(lambda w, x: loss(run, w, x), (0, 1))

    def second(run):
        def curved(w, x):
            return sum((g**2).sum() for g in jax.tree.leaves(first(run)(w, x)))

        return jax.grad(curved, (0, 1))

    @jax.jit
    def derivatives(w, x):
        ours, theirs = reversible_sequence(f, g), lambda params, x: plain(f, g, params, x)
        got = first(ours)(w, x), second(ours)(w, x), first(one_by_one)(w, x)
        return got, (first(theirs)(w, x), second(theirs)(w, x), first(theirs)(w, x))

    got, want = derivatives((params[0]["w"], params[1]), x)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        close(a, b, 1e-9)


def test_jax_memory_does_not_grow_with_depth(jax):
    from bpx_jax import reversible_sequence
    from bpx_jax._checks import saved_bytes

    for depth in (2, 20):
        f, g, params, x = jax_problem(jax, depth)
        run = lambda *x, f=f, g=g, p=params: jax.numpy.stack(  # noqa: E731
            reversible_sequence(f, g)(p, x)
        )
        assert saved_bytes(run, x, jax.tree.leaves(params))[1] == sum(v.nbytes for v in x)


def test_jax_random_numbers_come_from_keys_and_mistakes_are_said(jax):
    from bpx_jax import reversible

    f, g, params, x = jax_problem(jax, 1)
    jnp = jax.numpy

    def noisy(p, v):
        return jax.random.normal(p["key"], v.shape, v.dtype) * (v @ p["w"])

    key = {"key": jax.random.key(3), "w": params[1][0]}
    loss = lambda x: reversible(noisy, lambda p, v: jnp.sin(v))((key, ()), x)  # noqa: E731
    dy = (jnp.ones((3, D)), jnp.full((3, D), 0.5))
    (dx,) = jax.vjp(loss, x)[1](dy)

    def plainly(x):
        y1 = x[0] + noisy(key, x[1])
        return y1, x[1] + jnp.sin(y1)

    for a, b in zip(dx, jax.vjp(plainly, x)[1](dy)[0], strict=True):
        close(a, b)
    with pytest.raises(SpecError, match="f gives shape"):
        reversible(lambda p, v: v[:, :2], g)(params, x)
    with pytest.raises(SpecError, match="x1 has dtype"):
        reversible(f, g)(params, (jnp.arange(3), x[1]))
    with pytest.raises(SpecError, match="params has 1 parts"):
        reversible(f, g)(params[:1], x)
