"""The native kernels of recurrent layers inside JAX, at sizes that need more than one panel of
columns, block of steps and range of rows."""

from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx import rule
from bpx_jax import RULES
from bpx_jax.kernels.cpu import _ffi, _recurrent

pytestmark = pytest.mark.skipif(_ffi.available() is not None, reason=str(_ffi.available()))
ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-24}  # of the sums


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


# (steps, batch, outs, ins): one task, many rows, many outs, odd ends of both, many rows and outs
SIZES = (1, 3, 5, 7), (150, 9, 33, 40), (40, 16, 530, 35), (9, 64, 8, 1), (97, 17, 1035, 34)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("after", [False, True], ids=["x", "after"])
@pytest.mark.parametrize("dtype", ROUNDING)
def test_weight_gradient_is_the_product_over_all_rows(dtype, after, sizes):
    steps, batch, outs, ins = sizes
    wide = _ffi.arithmetic(jnp.dtype(dtype))
    rng = np.random.default_rng(steps)
    da = jnp.asarray(rng.normal(size=(steps, batch, outs)), wide)
    x = jnp.asarray(rng.normal(size=(steps + after, batch, ins)), dtype)
    before, x, read = (x[0], x[1:], x[:-1]) if after else (None, x, x)
    # Of the last step of what comes after nothing is read.
    got = jax.jit(partial(_recurrent.weight_gradient, needs=(True, True)))(
        da, x.at[-1].set(jnp.nan) if after else x, before
    )
    rows, of = np.asarray(da, float).reshape(-1, outs), np.asarray(read, float).reshape(-1, ins)
    # n products, summed in any order: gamma_n of the absolute values' sum (Higham 2002, 3.1)
    bound = (len(rows) + 1) * ROUNDING[dtype]
    assert np.all(abs(np.asarray(got[0], float) - rows.T @ of) <= bound * (abs(rows).T @ abs(of)))
    assert np.all(abs(np.asarray(got[1], float) - rows.sum(0)) <= bound * abs(rows).sum(0))
    assert _recurrent.weight_gradient(da, x, before, (True, False))[1] is None
    alone = _recurrent.weight_gradient(da, x, before, (False, True))
    assert alone[0] is None
    assert np.all(abs(np.asarray(alone[1] - got[1], float)) <= 2 * bound * abs(rows).sum(0))
    assert _recurrent.weight_gradient(da, x, before, (False, False)) == (None, None)


# (outs, low, step): a gap within a block of lines, between blocks, in another task, at the end
@pytest.mark.parametrize("columns", [(21, 15, 28), (24, 16, 32), (300, 262, 310), (12, 12, 19)])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_weight_gradient_of_the_first_and_last_columns(dtype, columns):
    outs, low, step = columns
    wide = _ffi.arithmetic(jnp.dtype(dtype))
    rng = np.random.default_rng(step)
    whole = jnp.asarray(rng.normal(size=(30, 7, step)), wide)
    x = jnp.asarray(rng.normal(size=(30, 7, 33)), dtype)
    da = jnp.concatenate([whole[..., :low], whole[..., step - (outs - low) :]], -1)
    whole = whole.at[..., low : step - (outs - low)].set(jnp.nan)  # of which nothing is read
    for needs in (True, True), (False, True):
        want = _recurrent.weight_gradient(da, x, None, needs)
        got = _recurrent.weight_gradient(whole, x, None, needs, outs, low)
        for a, b in zip(got, want, strict=True):
            assert (a is None) == (b is None)
            np.testing.assert_array_equal(a, b)


# 90 units: gates of gru and lstm beyond one part of a product's depth
@pytest.mark.parametrize(
    ("units", "biases"), [(21, "both"), (21, "hidden"), (21, "input"), (21, "none"), (90, "both")]
)
@pytest.mark.parametrize("made", [True, False], ids=["made", "given"])
@pytest.mark.parametrize(("name", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_the_walk_makes_or_takes_the_inputs_products(name, gates, biases, made, units, monkeypatch):
    if not made:
        monkeypatch.setattr(_recurrent, "FITS", 0)
    jax.clear_caches()  # the size decides while JAX traces
    steps, batch, ins = 19, 11, 37
    rng = np.random.default_rng(gates)

    def drawn(*shape):
        return jnp.asarray(rng.normal(size=shape) * 0.4)

    given = [drawn(steps, batch, ins), *(drawn(batch, units) for _ in range(1 + (gates == 4)))]
    # a gain of 1 from step to step, so that rounding does not grow along the walk
    w_hh = jnp.asarray(rng.normal(size=(gates * units, units)) / units**0.5)
    given += [drawn(gates * units, ins), w_hh]
    given += [drawn(gates * units) if biases in ("both", b) else None for b in ("input", "hidden")]
    lengths = jnp.asarray([19, 1, 8, 9, 7, 16, 17, 3, 0, 19, 2])
    there = [a for a in given if a is not None]

    def both(*there):
        of = iter(there)
        full = [None if a is None else next(of) for a in given]
        return RULES[name](*full, lengths)

    found = {}
    for kernel in ("cpu", "plain"):
        with rule.use(kernel):
            y, pull = jax.vjp(both, *there)
            found[kernel] = (y, *pull(jnp.cos(jnp.arange(y.size)).reshape(y.shape)))
    for native, plain in zip(found["cpu"], found["plain"], strict=True):
        np.testing.assert_allclose(native, plain, rtol=0, atol=1e-12 * float(abs(plain).max()))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(("name", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_a_second_backward(name, gates, dtype):
    """The gradients may be written over the gates, not where another backward reads these."""
    rng = np.random.default_rng(gates)
    shapes = [(5, 3, 4), *[(3, 8)] * (1 + (gates == 4)), (8 * gates, 4), (8 * gates, 8)]
    given = [jnp.asarray(rng.normal(size=s), dtype) for s in shapes]

    def f(*given):
        return RULES[name](*given, None, None, None)

    with rule.use("cpu"):
        y, pull = jax.vjp(f, *given)
        first, second = (jnp.asarray(rng.normal(size=y.shape), dtype) for _ in range(2))
        want = [pull(first), pull(second), pull(first)]

        @jax.jit
        def twice(first, second, *given):
            _, pull = jax.vjp(f, *given)
            return pull(first), pull(second), pull(first)

        got = twice(first, second, *given)
    for a, b in zip(jax.tree.leaves((got, want[0])), jax.tree.leaves((want, want[2])), strict=True):
        np.testing.assert_array_equal(a, b)
