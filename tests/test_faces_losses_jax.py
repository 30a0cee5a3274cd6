"""The losses under optax's names against optax."""

import functools
import importlib
import inspect

import numpy as np
import pytest

from bpx.spec import SpecError

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jnp = jax.numpy
losses = importlib.import_module("bpx_jax.losses")

RNG = np.random.default_rng(0)
NAMES = sorted(set(losses.__all__) - {"GAPS", "RULES"})


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape))


def uniform(*shape):
    return jnp.asarray(RNG.uniform(0, 1, shape))


def compare(name, inputs, *args, **options):
    """Values and gradients, under jit."""
    results = []
    for library in (losses, optax.losses):

        def f(*leaves, library=library):
            return getattr(library, name)(*leaves, *args, **options)

        @jax.jit
        def both(*leaves, f=f):
            y, vjp = jax.vjp(f, *leaves)
            return y, *vjp(np.random.default_rng(5).standard_normal(y.shape))

        results.append(both(*inputs))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_signature(name):
    def parameters(library):
        found = inspect.signature(getattr(library, name)).parameters.values()
        return [(p.name, p.kind, p.default) for p in found]

    assert parameters(losses) == parameters(optax.losses)


def test_gaps():
    library = {n for n, f in vars(optax.losses).items() if inspect.isroutine(f) or callable(f)}
    library = {n for n in library if not n.startswith("_")}
    assert library - set(NAMES) == set(losses.GAPS)
    assert not set(NAMES) & set(losses.GAPS)


@pytest.mark.parametrize("name", ["squared_error", "l2_loss", "huber_loss"])
def test_differences(name):
    x, target = 3 * normal(2, 3, 5), normal(2, 3, 5)
    options = {"delta": 0.4} if name == "huber_loss" else {}
    compare(name, (x, target), **options)
    compare(name, (x,), **options)


def test_sigmoid_binary_cross_entropy():
    compare("sigmoid_binary_cross_entropy", (5 * normal(2, 3, 5), uniform(2, 3, 5)))
    compare("sigmoid_binary_cross_entropy", (normal(3, 5),), jnp.ones((3, 5), int))


@pytest.mark.parametrize("axis", [-1, 1, (0, 2), None])
def test_softmax_cross_entropy(axis):
    logits, labels = 3 * normal(2, 3, 5), uniform(2, 3, 5)
    keep = RNG.uniform(0, 1, (2, 3, 5)) > 0.3
    keep[0, 0, 0] = keep[1] = True
    compare("softmax_cross_entropy", (logits, labels), axis)
    # optax's gradient for the labels that are left out is NaN, ours 0
    compare("softmax_cross_entropy", (logits,), labels, axis, jnp.asarray(keep))
    g = jax.jit(jax.grad(lambda q: losses.softmax_cross_entropy(logits, q, axis, keep).sum()))(
        labels
    )
    assert np.isfinite(g).all()
    assert not g[~keep].any()


def test_safe_softmax_cross_entropy():
    logits, labels = 3 * normal(2, 3, 5), uniform(2, 3, 5)
    compare("safe_softmax_cross_entropy", (logits, labels))
    logits, labels = logits.at[0, 1, 2].set(-jnp.inf), labels.at[0, 1, 2].set(0)
    compare("safe_softmax_cross_entropy", (logits,), labels)


@pytest.mark.parametrize("axis", [-1, 1, (0, 2)])
def test_integer_labels(axis):
    logits = 3 * normal(2, 3, 5)
    rows = jax.eval_shape(lambda x: x.max(axis), logits)
    labels = RNG.integers(0, 3, rows.shape)
    name = "softmax_cross_entropy_with_integer_labels"
    compare(name, (logits,), jnp.asarray(labels), axis)
    # the classes of a label stay in, and one row is left out as a whole
    keep = RNG.uniform(0, 1, (2, 3, 5)) > 0.3
    axes = (axis,) if isinstance(axis, int) else axis
    moved = np.moveaxis(keep, axes, range(-len(axes), 0)).reshape(*labels.shape, -1)
    np.put_along_axis(moved, labels[..., None], True, -1)
    moved[(0,) * labels.ndim] = False
    sizes = [n for i, n in enumerate(keep.shape) if i not in [a % 3 for a in axes]]
    sizes += [keep.shape[a] for a in axes]
    keep = np.moveaxis(moved.reshape(sizes), range(-len(axes), 0), axes)
    compare(name, (logits,), jnp.asarray(labels), axis, jnp.asarray(keep))


def test_label_out_of_range():
    logits, bad = normal(4, 5), np.arange(4) == 1
    each = losses.softmax_cross_entropy_with_integer_labels
    rowwise = jax.vmap(jax.value_and_grad(each))

    @jax.jit
    def whole(z, t):
        y, vjp = jax.vjp(lambda z: each(z, t), z)
        return y, *vjp(jnp.ones(4))

    for label in (-1, 5, -100):
        target = jnp.asarray([1, label, 4, 0])
        with pytest.raises(SpecError, match=f"target holds {label}"):
            each(logits, target)
        y, g = whole(logits, target)
        np.testing.assert_array_equal(np.isnan(y), bad)
        np.testing.assert_array_equal(np.isnan(g), np.broadcast_to(bad[:, None], (4, 5)))
    for f in (rowwise, jax.jit(rowwise)):
        y, g = f(logits, target)
        np.testing.assert_array_equal(np.isnan(y), bad)
        np.testing.assert_array_equal(np.isnan(g), np.broadcast_to(bad[:, None], (4, 5)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("s", [0.0, 0.3, 1.0])
def test_cross_entropy_under_jit(reduction, s):
    """A label out of range makes its row NaN, and every row under a mean; none wraps around."""
    rule = losses.RULES["cross_entropy"]
    logits, weight = normal(4, 5), uniform(5)

    @jax.jit
    def run(z, t, w):
        y, vjp = jax.vjp(lambda z, w: rule(z, t, w, reduction=reduction, label_smoothing=s), z, w)
        return y, *vjp(jnp.ones_like(y))

    for label, dtype in ((-1, int), (5, int), (-99, jnp.int32), (200, jnp.uint8)):
        y, g, dweight = run(logits, jnp.asarray([1, label, 4, 0], dtype), weight)
        bad = np.arange(4) == 1 if reduction != "mean" else np.full(4, True)
        np.testing.assert_array_equal(np.isnan(y), bad if reduction == "none" else True)
        np.testing.assert_array_equal(np.isnan(g), np.broadcast_to(bad[:, None], (4, 5)))
        assert np.isnan(dweight).any()


def test_small_integer_labels():
    """156 is no ignore_index of -100 in uint8, and 300 classes are more than uint8 can name."""
    logits, labels = normal(2, 300), jnp.asarray([156, 200], jnp.uint8)
    got = losses.RULES["cross_entropy"](logits, labels, None, reduction="none")
    name = "softmax_cross_entropy_with_integer_labels"
    np.testing.assert_allclose(got, getattr(optax.losses, name)(logits, labels), rtol=1e-12)


def test_nothing_counts():
    rule = losses.RULES["cross_entropy"]

    @jax.jit
    def run(z, t, w):
        f = functools.partial(rule, label_smoothing=0.2)
        return jax.value_and_grad(f, argnums=(0, 2))(z, t, w)

    for n in (0, 3):
        y, grads = run(normal(n, 5), jnp.full((n,), -100), uniform(5))
        assert y == 0
        assert not any(g.any() for g in grads)
