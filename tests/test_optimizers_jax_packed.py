"""Packed parameters: the steps of unpacked ones, states that go both ways, what refuses them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bpx_jax.transforms
from bpx.spec import SpecError
from bpx_jax import OPTIMIZERS, _packed, optim
from bpx_jax.kernels.cpu import _ffi

WHOLE = ("adafactor", "lamb", "lars", "muon", "shampoo")  # look at arrays, not at elements
SHAPES = {"a": (3, 5), "b": {"c": (), "d": (7,)}, "e": (0, 2), "f": (2, 1, 4)}
HALF = "f"  # a vector of its own


def tree(seed: int, halves: bool = True) -> Any:
    draw = np.random.default_rng(seed)

    def leaf(path: Any, shape: tuple[int, ...]) -> Any:
        half = halves and path[0].key == HALF
        return jnp.asarray(draw.normal(size=shape), jnp.bfloat16 if half else jnp.float32)

    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree_util.tree_map_with_path(leaf, SHAPES, is_leaf=is_shape)


def same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(np.asarray(x, np.float64), np.asarray(y, np.float64))


@pytest.fixture(params=["native", "plain"])
def way(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setattr(_ffi, "copies", lambda array: False)
    elif not _ffi.copies(jnp.ones(2)):
        pytest.skip("no native library")
    return str(request.param)


def test_there_and_back(way: str) -> None:
    params = tree(0)
    packed = optim.pack(params)
    assert [(v.shape, str(v.dtype)) for v in packed.vectors] == [
        ((23,), "float32"),
        ((8,), "bfloat16"),
    ]
    same(optim.unpack(packed), params)
    same(jax.jit(lambda p: optim.unpack(optim.pack(p)))(params), params)


def test_gradients_and_tangents(way: str) -> None:
    """Of a sum of products with a fixed tree, the gradient is that tree, packed."""
    params, other = tree(0, halves=False), tree(1, halves=False)

    def loss(packed: Any) -> Any:
        parts = jax.tree.map(lambda p, c: (p * c).sum(), optim.unpack(packed), other)
        return sum(jax.tree.leaves(parts))

    packed = optim.pack(params)
    same(jax.grad(loss)(packed), optim.pack(other))
    _, slope = jax.jvp(loss, (packed,), (optim.pack(other),))
    total = sum(float((np.asarray(c) ** 2).sum()) for c in jax.tree.leaves(other))
    assert abs(float(slope) - total) < 1e-5 * total
    # the derivative of a part alone, and by example, of a product that has a second one
    one = jax.grad(lambda p: optim.unpack(p)["a"].sum())(packed)
    np.testing.assert_array_equal(one.vectors[0], np.r_[np.ones(15), np.zeros(16)])
    square = lambda p, x: (optim.unpack(p)["a"] ** 2 * x).sum()  # noqa: E731
    xs = jnp.asarray([2.0, 3.0], jnp.float32)
    rows = jax.vmap(jax.grad(square), (None, 0))(packed, xs)
    want = [2 * x * params["a"].ravel() for x in xs]
    np.testing.assert_allclose(rows.vectors[0][:, :15], jnp.stack(want), rtol=1e-6)
    _, twice = jax.jvp(lambda p: jax.grad(square)(p, xs[0]), (packed,), (optim.pack(other),))
    np.testing.assert_allclose(twice.vectors[0][:15], 4 * other["a"].ravel(), rtol=1e-6)
    many = jax.vmap(optim.unpack)(jax.tree.map(lambda v: jnp.stack([v, 2 * v]), packed))
    same(jax.tree.map(lambda a: a[1], many), jax.tree.map(lambda a: 2 * a, params))


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n not in WHOLE])
def test_steps_are_those_of_unpacked_parameters(name: str) -> None:
    """Bit by bit, the state too: each element's arithmetic looks at no other."""
    params = tree(0)
    tx = OPTIMIZERS[name](0.1)
    packed, plain = optim.pack(params), params
    held, state = tx.init(packed), tx.init(plain)
    move = optim.stepping(tx)
    for t in range(2):
        grads = tree(10 + t)
        plain, state = move(grads, state, plain)
        packed, held = move(optim.pack(grads), held, packed)
    same(optim.unpack(packed), plain)
    same(optim.unpack(held), state)
    again = optim.pack(state, like=params)
    same(again, held)
    same(optim.pack(state, like=packed), held)


@pytest.mark.parametrize("name", WHOLE)
def test_rules_of_whole_arrays_refuse(name: str) -> None:
    packed = optim.pack(tree(0, halves=False))
    tx = OPTIMIZERS[name](0.1)
    match = f"{name}: the parameters are packed, expected a tree of arrays \\(it looks at each"
    with pytest.raises(SpecError, match=match):
        tx.init(packed)
    with pytest.raises(SpecError, match=match):
        tx.update(packed, None, packed)


def test_masks_and_clipping_of_arrays_refuse() -> None:
    packed = optim.pack(tree(0, halves=False))
    tx = optim.adamw(0.1, mask=lambda g: jax.tree.map(lambda a: a.ndim > 1, g))
    with pytest.raises(SpecError, match="packed, expected a tree of arrays \\(a mask says which"):
        tx.update(packed, tx.init(packed), packed)
    transforms = bpx_jax.transforms
    for clip in (transforms.clip_by_norm(1.0), transforms.adaptive_grad_clip(0.1)):
        with pytest.raises(SpecError, match="the parameters are packed"):
            clip.update(packed, clip.init(packed), packed)


def test_pack_refuses_a_tree_without_the_parts() -> None:
    with pytest.raises(SpecError, match=r"pack: tree is .*, expected one that holds like's"):
        optim.pack({"a": jnp.ones(3)}, like=tree(0))


def test_layouts_are_told_apart() -> None:
    """Trees of other shapes are other pytrees: they cannot be added by mistake."""
    one, other = _packed.pack({"a": jnp.ones((2, 3))}), _packed.pack({"a": jnp.ones((3, 2))})
    with pytest.raises(ValueError, match="pytree"):
        jax.tree.map(jnp.add, one, other)
