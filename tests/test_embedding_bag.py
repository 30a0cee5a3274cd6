"""Bags of embeddings beyond the table of cases: what is out of range where nobody can look, tables
wider than a kernel sums at once, and a batch of indices under vmap."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

import jax.numpy as jnp

import bpx_jax.nn
from bpx import native, rule
from bpx.layers.embedding_bag import SPEC
from bpx_jax.kernels.cpu import _ffi
from bpx_torch.layers import embedding_bag as of_torch

REASON = native.available() or _ffi.available()
CPU = pytest.mark.skipif(REASON is not None, reason=str(REASON))
KERNELS = [pytest.param("cpu", marks=CPU), "plain"]


def arrays(n=40, v=9, d=1030, b=7, seed=0):
    rng = np.random.default_rng(seed)
    weight, shares = rng.normal(size=(v, d)), rng.normal(size=n)
    return rng.integers(v, size=n), weight, rng.integers(b, size=n), shares


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_wide_rows(mode, kernel):
    given = arrays()
    options = {"num_bags": 8, "mode": mode, "padding_idx": 4}
    dy = np.random.default_rng(1).normal(size=(8, given[1].shape[1]))
    want = SPEC.forward(*given, **options)[0], *SPEC.backward(dy, *given, **options)[1::2]
    table, shares = (torch.tensor(given[i], requires_grad=True) for i in (1, 3))
    with rule.use(kernel):
        y = of_torch.embedding_bag(
            torch.tensor(given[0]), table, torch.tensor(given[2]), shares, **options
        )
        found = y, *torch.autograd.grad(y, (table, shares), torch.tensor(dy))
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a.detach(), b, rtol=1e-13, atol=1e-12)


def unseen(kernel, index, bag, row=(6.0, 7.0), **options):
    """y and gradients by a kernel of torch that nobody has checked the indices for, and by JAX."""
    table, shares = np.arange(8.0).reshape(4, 2), np.array([1.0, 2.0, 3.0])
    table[3] = row
    full = SPEC.complete({"num_bags": 2, **options})
    given = [torch.tensor(a) for a in (index, table, bag, shares)]
    of = next(k for k in of_torch.RULE.kernels if k.name == kernel).loaded()
    y = of.forward(*given, **full)[0]
    grads = of.backward(torch.ones_like(y), given, (), (False, True, False, True), **full)
    with jax.enable_x64(True), rule.use(kernel):

        @jax.jit
        def both(index, table, bag, shares):
            y, back = jax.vjp(
                lambda t, s: bpx_jax.nn.embedding_bag(index, t, bag, s, **full), table, shares
            )
            return y, *back(jnp.ones_like(y))

        again = both(*map(jnp.asarray, (index, table, bag, shares)))
    for a, b in zip((y, *grads[1::2]), again, strict=True):
        np.testing.assert_allclose(a, b)
    return y.numpy(), grads[1].numpy(), grads[3].numpy()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("index", [4, -1])
def test_an_index_out_of_range_makes_its_bag_nan(kernel, index):
    y, dtable, dshares = unseen(kernel, [1, index, 2], [0, 1, 0], mode="sum")
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(y[0], [2 + 3 * 4, 3 + 3 * 5])
    np.testing.assert_array_equal(dtable, [[0, 0], [1, 1], [3, 3], [0, 0]])
    np.testing.assert_array_equal(dshares, [5, np.nan, 9])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bag", [2, -1])
@pytest.mark.parametrize("padding_idx", [None, 3])
def test_a_bag_out_of_range_makes_all_of_them_nan(kernel, bag, padding_idx):
    y, dtable, dshares = unseen(kernel, [1, 3, 2], [0, bag, 0], padding_idx=padding_idx)
    assert np.isnan(y).all() == (padding_idx is None)  # what counts in no bag may say any
    np.testing.assert_array_equal(dtable, [[0, 0], [0.5, 0.5], [1.5, 1.5], [0, 0]])
    np.testing.assert_array_equal(dshares, [2.5, 0, 4.5])


@pytest.mark.parametrize("kernel", KERNELS)
def test_nan_in_the_row_of_padding_has_no_part(kernel):
    y, dtable, dshares = unseen(kernel, [1, 3, 2], [0, 1, 1], row=np.nan, padding_idx=3)
    np.testing.assert_array_equal(y, [[2, 3], [12, 15]])
    np.testing.assert_array_equal(dtable, [[0, 0], [1, 1], [3, 3], [0, 0]])
    np.testing.assert_array_equal(dshares, [5, 0, 9])


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_batch_of_indices_in_jax(kernel):
    index, table, bag, _ = arrays(n=12, d=3)
    index, bag = index.reshape(3, 4), bag.reshape(3, 4)
    dy = np.random.default_rng(2).normal(size=(3, 7, 3))
    options = {"num_bags": 7, "mode": "mean", "padding_idx": 1}

    def all_of(table, index, bag, dy):
        f = lambda i, b: bpx_jax.nn.embedding_bag(i, table, b, **options)  # noqa: E731
        return (jax.vmap(f)(index, bag) * dy).sum()

    with jax.enable_x64(True), rule.use(kernel):
        value, dtable = jax.jit(jax.value_and_grad(all_of))(
            *map(jnp.asarray, (table, index, bag, dy))
        )
    y = [SPEC.forward(i, table, b, None, **options)[0] for i, b in zip(index, bag, strict=True)]
    np.testing.assert_allclose(value, (np.array(y) * dy).sum(), rtol=1e-13)
    want = sum(
        SPEC.backward(d, i, table, b, None, **options)[1]
        for d, i, b in zip(dy, index, bag, strict=True)
    )
    np.testing.assert_allclose(dtable, want, rtol=1e-13, atol=1e-13)
