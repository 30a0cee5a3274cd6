"""Divergences and margins under optax's names against optax."""

import importlib

import numpy as np
import pytest

from bpx.spec import SpecError

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jnp = jax.numpy
losses = importlib.import_module("bpx_jax.losses")

RNG = np.random.default_rng(1)


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape))


def uniform(*shape):
    return jnp.asarray(RNG.uniform(0, 1, shape))


def compare(name, inputs, *args, **options):
    """Values and gradients, under jit."""
    results = []
    for library in (losses, optax.losses):

        @jax.jit
        def both(*leaves, library=library):
            y, vjp = jax.vjp(lambda *a: getattr(library, name)(*a, *args, **options), *leaves)
            return y, *vjp(np.random.default_rng(5).standard_normal(y.shape))

        results.append(both(*inputs))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axis", [-1, 1, (0, 2), None])
def test_divergences(axis):
    keep = jnp.asarray(RNG.uniform(0, 1, (2, 3, 5)) > 0.3)
    for where in (None, keep):
        options = {"axis": axis, "where": where}
        compare("kl_divergence", (normal(2, 3, 5), uniform(2, 3, 5)), **options)
        name = "kl_divergence_with_log_targets"
        compare(name, (normal(2, 3, 5), normal(2, 3, 5)), **options)


def test_absent_classes():
    target = uniform(3, 5).at[1, 2].set(0)
    compare("kl_divergence", (normal(3, 5),), target)
    y = losses.kl_divergence(normal(3, 5).at[1, 2].set(-jnp.inf), target)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("name", ["hinge_loss", "perceptron_loss"])
def test_margins(name):
    signs = np.where(RNG.standard_normal((3, 5)) > 0, 1, -1)
    compare(name, (2 * normal(3, 5), jnp.asarray(signs, float)))
    x = 2 * normal(3, 5)
    got, want = (getattr(losses, name)(x, jnp.asarray(signs, dtype)) for dtype in (int, float))
    np.testing.assert_array_equal(got, want)


def test_focal():
    labels = jnp.asarray(RNG.integers(0, 2, (3, 5)))
    for options in ({}, {"alpha": 0.3}, {"alpha": 0.7, "gamma": 1.5}):
        compare("sigmoid_focal_loss", (3 * normal(3, 5),), labels, **options)
    compare("sigmoid_focal_loss", (3 * normal(3, 5), uniform(3, 5)), alpha=0.4)


@pytest.mark.parametrize("axis", [-1, 1, (0, 2), None])
def test_cosine_distance(axis):
    keep = jnp.asarray(RNG.uniform(0, 1, (2, 3, 5)) > 0.3).at[:, :, 0].set(True)
    keep = keep.at[0].set(True)
    for where in (None, keep):
        inputs = normal(2, 3, 5), normal(2, 3, 5)
        compare("cosine_distance", inputs, axis=axis, where=where)
    with pytest.raises(SpecError, match=r"epsilon is 0\.1, expected 0"):
        losses.cosine_distance(normal(3), normal(3), epsilon=0.1)
