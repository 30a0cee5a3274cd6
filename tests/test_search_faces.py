"""bpx_torch.search and bpx_jax.search: the trajectory of bpx.search, bit for bit; modules."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest

from bpx import random, search
from bpx.spec import SpecError
from tests.test_search import METHODS, each

START = {"b": [np.array([4.3]), np.array(-3.6)], "a": np.ones((2, 1), np.float32)}


def value(w: Any, x: Any, y: Any) -> float:
    """Of numbers that are equal in every framework, computed in NumPy."""
    p = np.array([*np.ravel(w), *np.ravel(x), *np.ravel(y)], np.float64)
    return float((10 + p * p - 10 * np.cos(2 * math.pi * p)).sum())


def put(tree: Any, leaf: Any) -> Any:
    return {"b": [leaf(a) for a in tree["b"]], "a": leaf(tree["a"])}


def path(run: Any, make: Any, key: Any) -> tuple[Any, Any]:
    seen: list[Any] = []

    def f(p: Any) -> float:
        assert p["a"].dtype == make(START["a"]).dtype
        assert tuple(p["a"].shape) == (2, 1)
        parts = [np.asarray(a) for a in (p["a"], *p["b"])]
        seen.append(np.concatenate([a.ravel() for a in parts]))
        return value(*parts)

    return run(f, put(START, make), key), np.array(seen)


@each
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_same_key_same_trajectory(framework: str, name: str) -> None:
    """Every candidate, bit for bit, from a seed and from the framework's own key."""
    library = pytest.importorskip(framework)
    face = importlib.import_module(f"bpx_{framework}.search")
    make = {"torch": lambda a: library.tensor(a), "jax": lambda a: library.numpy.asarray(a)}
    own = importlib.import_module(f"bpx_{framework}.random").key(11)
    method = METHODS[name]
    want, points = path(method.run, np.asarray, 11)
    for key in (11, random.key(11), own):
        found, theirs = path(
            lambda f, p, key: face.run(method, f, p, key), make[framework], key
        )  # fmt: skip
        np.testing.assert_array_equal(theirs, points)
        assert (found.value, found.accepted) == (want.value, want.accepted)
        assert type(found.params["a"]) is type(make[framework](START["a"]))
        for ours, other in zip(found.params["b"], want.params["b"], strict=True):
            np.testing.assert_array_equal(np.asarray(ours), other)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_pause_and_state(framework: str) -> None:
    library = pytest.importorskip(framework)
    face = importlib.import_module(f"bpx_{framework}.search")
    start = library.ones(3) if framework == "torch" else library.numpy.ones(3)
    method = search.LocalSearch(90)

    def f(p: Any) -> Any:
        return (p * p).sum()

    whole = face.run(method, f, start, 1)
    half = face.run(method, f, start, 1, pause=40)
    assert half.outcome == "paused"
    assert face.run(method, f, start, 1, state=half.state).value == whole.value < half.value


def test_module() -> None:
    """Searched in place: what is frozen stays, the best is kept, an error puts all back."""
    torch = pytest.importorskip("torch")
    from bpx_torch.search import run

    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    model.bias.requires_grad_(False)
    x, y = torch.randn(20, 3), torch.randn(20, 1)
    frozen, before = model.bias.clone(), model.weight.detach().clone()

    def f() -> Any:
        assert not torch.is_grad_enabled()
        return (model(x) - y).square().mean()

    found = run(search.LocalSearch(200), f, model, 5)
    assert found.params is model
    with torch.no_grad():
        assert f().item() == pytest.approx(found.value)
    torch.testing.assert_close(model.bias, frozen)
    assert found.state.start.tolist() == before.double().flatten().tolist()
    kept, calls = model.weight.detach().clone(), 0

    def fails() -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise RuntimeError("stop")
        return f()

    with pytest.raises(RuntimeError, match=r"^stop$"):
        run(search.LocalSearch(200), fails, model, 5)
    torch.testing.assert_close(model.weight.detach(), kept, rtol=0, atol=0)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_bfloat16(framework: str) -> None:
    """Candidates are rounded when they are evaluated, the search goes on from the unrounded."""
    library = pytest.importorskip(framework)
    face = importlib.import_module(f"bpx_{framework}.search")
    maker = library if framework == "torch" else library.numpy
    start = maker.ones(2, dtype=maker.bfloat16)
    found = face.run(search.LocalSearch(100), lambda p: abs(p - 3).sum(), start, 0)
    assert found.params.dtype == maker.bfloat16
    assert found.value < 1
    if framework == "torch":
        found = face.run(search.LocalSearch(9), lambda: model.weight.sum(), model := (
            library.nn.Linear(2, 1, bias=False, dtype=library.bfloat16)
        ), 0)  # fmt: skip
        assert model.weight.sum().item() == pytest.approx(found.value)


def test_refuses() -> None:
    torch = pytest.importorskip("torch")
    jnp = pytest.importorskip("jax.numpy")
    import bpx_jax.search
    import bpx_torch.search

    method = search.RandomSearch(3)
    says = r"^search: a leaf is torch.int64, expected a real floating tensor$"
    with pytest.raises(SpecError, match=says):
        bpx_torch.search.run(method, lambda p: 0.0, [torch.arange(2)], 0)
    with pytest.raises(SpecError, match=r"^search: a leaf is ndarray|^search: a leaf is float64, "):
        bpx_torch.search.run(method, lambda p: 0.0, [np.ones(2)], 0)
    model = torch.nn.Linear(1, 1, dtype=torch.complex64)
    with pytest.raises(SpecError, match=r"^search: weight is torch.complex64, expected a real flo"):
        bpx_torch.search.run(method, lambda: 0.0, model, 0)
    says = r"^search: a leaf is int32, expected a real floating array$"
    with pytest.raises(SpecError, match=says):
        bpx_jax.search.run(method, lambda p: 0.0, [jnp.arange(2, dtype=jnp.int32)], 0)
    with pytest.raises(SpecError, match=r"^random_search: f gives ArrayImpl, expected a number$"):
        bpx_jax.search.run(method, lambda p: p, jnp.ones(2), 0)
