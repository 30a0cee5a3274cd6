"""The native kernels of the losses inside JAX: vmap over rows and whole losses, label types."""

from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx import rule
from bpx_jax import RULES
from bpx_jax.kernels.cpu import _ffi, cross_entropy, losses, nll_loss

pytestmark = pytest.mark.skipif(_ffi.available() is not None, reason=str(_ffi.available()))


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def drawn(name):
    """Arguments with a batch dim of 3 in front."""
    rng = np.random.default_rng(len(name))
    x, other = jnp.asarray(rng.normal(size=(2, 3, 4, 5)))
    labels, weight = jnp.asarray(rng.integers(0, 5, (3, 4))), jnp.asarray(0.5 + rng.random((3, 5)))
    return {
        "cross_entropy": (x, labels, weight),
        "nll_loss": (x, labels, weight),
        "soft_cross_entropy": (x, jax.nn.softmax(other), None),
        "mse": (x, other),
        "binary_cross_entropy_with_logits": (x, jax.nn.sigmoid(other), weight, None),
        "triplet_margin": (x, other, x[::-1] - other),
    }[name]


NAMES = """
    cross_entropy nll_loss soft_cross_entropy mse binary_cross_entropy_with_logits triplet_margin
""".split()


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_vmap_gives_what_the_plain_rule_gives(name, reduction):
    arrays = drawn(name)
    floats = [
        i for i, a in enumerate(arrays) if a is not None and jnp.issubdtype(a.dtype, jnp.floating)
    ]

    def both(*given):
        def of(*chosen):
            full = list(given)
            for i, a in zip(floats, chosen, strict=True):
                full[i] = a
            return RULES[name](*full, reduction=reduction)

        y, pull = jax.vjp(of, *(given[i] for i in floats))
        dy = jnp.cos(jnp.arange(1.0, y.size + 1)).reshape(y.shape)
        return y, pull(dy)

    of_all = tuple(None if a is None else 0 for a in arrays)
    of_targets = (None, 0, *(None,) * (len(arrays) - 2))  # one x and weight for a batch of targets
    for axes in (of_all, of_targets):
        given = [
            a if axis == 0 or a is None else a[0] for a, axis in zip(arrays, axes, strict=True)
        ]
        found = jax.jit(jax.vmap(both, axes))(*given)
        with rule.use("plain"):
            want = jax.jit(jax.vmap(lambda *given: both(*given), axes))(*given)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
            assert a.shape == b.shape
            assert jnp.abs(a - b).max() <= 64 * 2.0**-53 * max(1.0, float(jnp.abs(b).max()))


@pytest.mark.parametrize("jit", [jax.jit, lambda f: f])
@pytest.mark.parametrize("swap", [False, True])
def test_gradients_written_over_residuals(swap, jit):
    """Backward may be called again: XLA copies what is written over where it is read once more."""

    def twice(*given):
        of = partial(RULES["triplet_margin"], swap=swap, reduction="sum", margin=5.0)
        pull = jax.vjp(of, *given)[1]
        return pull(jnp.float64(1)), pull(jnp.float64(-2))

    arrays = drawn("triplet_margin")
    first, second = jit(twice)(*arrays)
    with rule.use("plain"):
        want, _ = twice(*arrays)
    for a, b, c in zip(first, second, want, strict=True):
        assert jnp.array_equal(b, -2 * a)
        assert jnp.abs(a - c).max() <= 64 * 2.0**-53


@pytest.mark.parametrize("ignore_index", [-1, 2, None])
def test_weights_of_few_labels_stay_in_their_classes(ignore_index):
    """Of three rows among 300 classes the labels' weights alone are kept."""
    x, weight = jnp.sin(jnp.arange(900.0)).reshape(3, 300), jnp.arange(1.0, 301)
    target = jnp.array([299, 299 if ignore_index is None else ignore_index, 7])
    of = jax.value_and_grad(
        lambda x, w, t: RULES["nll_loss"](x, t, w, ignore_index=ignore_index), (0, 1)
    )
    found = of(x, weight, target)
    with rule.use("plain"):
        want = of(x, weight, target)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        assert jnp.abs(a - b).max() <= 64 * 2.0**-53 * jnp.abs(b).max()
    bytes_of_labels = jnp.array([200, 200, 7], "uint8")  # 300 classes are more than they can hold
    place = nll_loss.of_classes(jnp.array([3.0, 3.0, 5.0]), bytes_of_labels, 300).nonzero()[0]
    assert place.tolist() == [7, 200]


def test_labels_of_every_type():
    x = jnp.linspace(-2, 2, 15).reshape(3, 5)
    want = RULES["cross_entropy"](x, jnp.array([1, 4, 0]), None)
    for dtype in ("int8", "int16", "int32", "uint8", "uint16"):
        target = jnp.array([1, 4, 0], dtype)
        assert cross_entropy.refuses((x, target, None), {}) is None
        assert RULES["cross_entropy"](x, target, None) == want
    wide = jnp.array([1, 4, 0], "uint32")
    assert cross_entropy.refuses((x, wide, None), {}) == "target is uint32"
    assert jnp.allclose(RULES["cross_entropy"](x, wide, None), want)
    outside = jax.jit(lambda t: RULES["cross_entropy"](x, t, None, reduction="none"))
    assert jnp.isnan(outside(jnp.array([1, 5, -1]))).tolist() == [False, True, True]
    half = x.astype(jnp.bfloat16)
    assert losses.KERNELS["mse"].refuses((half, x), {}) == "an argument is float64 beside bfloat16"


def test_a_difference_that_xla_never_writes_is_left_to_it():
    large = jax.ShapeDtypeStruct(((1 << 21) + 1,), jnp.float32)
    said = "a difference of 2,097,153 elements is not even written by XLA"
    assert losses.KERNELS["mse"].refuses((large, large), {}) == said
    assert losses.KERNELS["huber"].refuses((large, large), {}) is None
