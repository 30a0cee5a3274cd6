"""What a backward in JAX is asked for: gradients of the arguments that are differentiated."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx import rule
from bpx.rule import Kernel
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.layers.layer_norm import RULE, layer_norm
from bpx_jax.losses.kl_div import kl_div

RNG = np.random.default_rng(5)
X, W, B = (jnp.asarray(RNG.normal(size=s), jnp.float32) for s in ((3, 4), (4,), (4,)))


def spied():
    """layer_norm, and the list of what each of its backwards was asked for."""
    asked = []

    def backward(dy, arrays, residuals, needs, **options):
        asked.append(needs)
        return RULE.plain.backward(dy, arrays, residuals, needs, **options)

    found = RULE.with_plain(Kernel("plain", RULE.plain.forward, backward))
    return (lambda *a: jnp.sin(found(*a)).sum()), asked


FOR_X, FOR_WB = (True, False, False), (False, True, True)
WAYS = {
    "grad": (lambda f: jax.grad(f)(X, W, B), FOR_X),
    "of two": (lambda f: jax.grad(f, (1, 2))(X, W, B), FOR_WB),
    "vjp of a closure": (
        lambda f: jax.vjp(lambda w, b: f(X, w, b), W, B)[1](jnp.float32(1)),
        FOR_WB,
    ),
    "jit": (lambda f: jax.jit(jax.grad(jax.jit(f)))(X, W, B), FOR_X),
    "vmap": (lambda f: jax.vmap(jax.grad(f), (0, None, None))(X[None], W, B), FOR_X),
    "checkpoint": (lambda f: jax.grad(jax.checkpoint(f), (1, 2))(X, W, B), FOR_WB),
    "scan": (
        lambda f: jax.grad(
            lambda x: jax.lax.scan(lambda c, _: (c + f(x, W, B), None), 0.0, None, 2)[0]
        )(X),
        FOR_X,
    ),
    "twice": (lambda f: jax.jacrev(jax.grad(f))(X, W, B), FOR_X),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_backward_is_asked_for_what_is_differentiated(way):
    run, want = WAYS[way]
    f, asked = spied()
    run(f)
    assert {*asked} == {want}


def test_an_absent_argument_is_not_asked_for():
    f, asked = spied()
    jax.grad(f, (0, 1))(X, W, None)
    assert asked == [(True, True, False)]


def test_a_gradient_through_statistics_alone_is_zero():
    got = jax.grad(lambda x: sum(r.sum() for r in RULE.with_residuals(x, W, B)[1]))(X)
    np.testing.assert_array_equal(got, np.zeros_like(X))


def test_a_kernel_writes_no_gradient_that_nobody_asked_for():
    logp, target = jax.nn.log_softmax(X), jax.nn.softmax(X[::-1])
    if (reason := _ffi.refuses((logp, target))) is not None:
        pytest.skip(reason)
    with rule.use("cpu"):
        text = jax.jit(jax.grad(kl_div)).lower(logp, target).as_text()
        both = jax.jit(jax.grad(kl_div, (0, 1))).lower(logp, target).as_text()
        normed = jax.jit(jax.grad(lambda x: (layer_norm(x, W, B) ** 2).sum())).lower(X).as_text()

    def made(text, kernel):
        (line,) = (x for x in text.splitlines() if f'kernel = "{kernel}_backward_f32"' in x)
        return line.rsplit("-> ", 1)[1].count("3x4xf32") + line.rsplit("-> ", 1)[1].count("<4xf32")

    assert (made(text, "kl_div"), made(both, "kl_div"), made(normed, "layer_norm")) == (1, 2, 1)


@pytest.mark.parametrize("kernel", ["plain", None])
def test_a_cotangent_may_be_a_number(kernel):
    """JAX hands a Python number over as it is, outside of jit."""
    target = jnp.abs(W) + 0.5
    with rule.use(kernel), jax.enable_x64(False):  # with it the number is a float64
        _, back = jax.vjp(lambda x: kl_div(x, target, reduction="sum"), W)
        (got,), (want,) = back(0.75), back(jnp.float32(0.75))
    assert (got == want).all()
    assert (got != 0).all()
