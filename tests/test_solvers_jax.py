"""bpx_jax's solvers against the specification, optax and scipy; jit, vmap, pytrees; errors."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx import solvers as spec
from bpx.spec import SpecError
from bpx_jax import RULES
from bpx_jax.solvers import OUTCOMES, SOLVERS
from tests import solver_problems as problems
from tests.solver_problems import EXACT, PENALTY, by_spec
from tests.test_solvers_outcomes import REJECTS, TAKES

pytestmark = pytest.mark.slow

each = pytest.mark.parametrize("name", SOLVERS)
LEAST = ("gauss_newton", "levenberg_marquardt")
EPS = float(np.finfo(np.float64).eps)


def tree(x: Any) -> Any:
    """Three numbers as a pytree: a matrix, a list with a scalar and an array of no elements."""
    x = jnp.asarray(x)
    return {"b": [x[2], jnp.zeros((0, 2), x.dtype)], "a": x[:2].reshape(2, 1)}


def residual(p: Any) -> Any:
    t, y = (jnp.asarray(a, p["a"].dtype) for a in problems.decay_data())
    a, k, w = p["a"][0, 0], p["a"][1, 0], p["b"][0]
    return a * jnp.exp(-k * t) * jnp.cos(w * t) - y


def half_squares(p: Any) -> Any:
    return jnp.sum(residual(p) ** 2) / 2


def solve(name: str, start: Any, **options: Any) -> Any:
    f = residual if name in LEAST else half_squares
    return jax.jit(lambda p: SOLVERS[name](f, p, **options))(start)


@each
def test_ends_where_the_specification_does(name: str) -> None:
    """After as many directions and evaluations, from two starts, with one compilation."""
    options = {"max_iter": 12, "tolerance_grad": 1e-7, "tolerance_change": 0.0}
    f = residual if name in LEAST else half_squares
    run = jax.jit(lambda p: SOLVERS[name](f, p, **options))
    for start in (problems.DECAY_START, np.array([0.5, -0.2, 3.0])):
        want, _ = by_spec(name, start, **options)
        found = run(tree(start))
        assert found.outcome == want.outcome
        assert bool(found.converged) == want.converged
        counts = found.iterations, found.evaluations, found.matrices
        assert tuple(map(int, counts)) == (want.iterations, want.evaluations, want.matrices)
        assert jax.tree.structure(found.params) == jax.tree.structure(tree(start))
        x = jnp.concatenate([found.params["a"].reshape(-1), found.params["b"][0][None]])
        np.testing.assert_allclose(x, want.x, rtol=1e-8)
        assert float(found.value) == pytest.approx(want.value, rel=1e-9)
        assert float(found.gradient) == pytest.approx(want.gradient, rel=1e-6, abs=1e-10)
    assert run._cache_size() == 1


def test_fixed_steps_are_those_of_the_specification() -> None:
    options: dict[str, Any] = {
        "max_iter": 9, "lr": 0.4, "history_size": 3, "line_search_fn": None, **EXACT,
    }  # fmt: skip
    want, _ = by_spec("lbfgs", problems.DECAY_START, **options)
    found = solve("lbfgs", tree(problems.DECAY_START), **options)
    x = jnp.concatenate([found.params["a"].reshape(-1), found.params["b"][0][None]])
    np.testing.assert_allclose(x, want.x, rtol=1e-9)
    assert int(found.evaluations) == want.evaluations == 10


def rosenbrock(x: Any) -> Any:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_rosenbrock_to_the_last_digit(name: str) -> None:
    run = jax.jit(lambda x: SOLVERS[name](rosenbrock, x, **EXACT))
    found = run(jnp.array(problems.ROSENBROCK_START))
    assert found.outcome == "converged"
    np.testing.assert_array_equal(found.params, [1.0, 1.0])


@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_digits_to_machine_precision(name: str) -> None:
    """Logistic regression by bpx's rules, in every digit that float64 has."""
    images, labels = problems.digits(every=3)
    x, y = jnp.asarray(images), jnp.asarray(labels)

    def loss(p: Any) -> Any:
        squares = jnp.sum(p["weight"] ** 2) + jnp.sum(p["bias"] ** 2)
        logits = RULES["linear"](x, p["weight"], p["bias"])
        return RULES["cross_entropy"](logits, y, None) + PENALTY / 2 * squares

    start = {"weight": jnp.zeros((10, 64)), "bias": jnp.zeros(10)}
    options = {"tolerance_grad": 8 * EPS, "tolerance_change": 0.0}
    found = jax.jit(partial(SOLVERS[name], loss, **options))(start)
    assert found.outcome == "converged"
    # f(x) - f* <= |g|^2 / (2 PENALTY): nothing beside the rounding of f
    assert 650 * found.gradient**2 / (2 * PENALTY) < EPS * found.value
    flat = np.concatenate([found.params["weight"].ravel(), found.params["bias"]])
    value, grad = problems.logistic(images, labels)(flat)
    assert np.abs(grad).max() < 16 * EPS
    assert float(found.value) == pytest.approx(value, rel=8 * EPS)


def test_every_outcome() -> None:
    """By one compiled L-BFGS for each set of options, of -log(1 - x^2) + x or a flat line."""

    def barrier(x: Any) -> Any:
        return jnp.sum(x - jnp.log(1 - x**2))

    def outcome(f: Any, x: float, **options: Any) -> str:
        return SOLVERS["lbfgs"](f, jnp.array([x]), **options).outcome

    start = 0.9
    found = {
        "converged": outcome(barrier, start, lr=20.0, tolerance_grad=1e-6),
        "small change": outcome(barrier, start, tolerance_change=0.5),
        "max iterations": outcome(barrier, start, max_iter=2, **EXACT),
        "max evaluations": outcome(barrier, start, max_eval=3, **EXACT),
        "non-finite": outcome(barrier, start, lr=20.0, line_search_fn=None),
        "line search failed": outcome(_wrong, 1.0),
    }
    assert found == {k: k for k in OUTCOMES}
    assert outcome(barrier, 1.5) == "non-finite"
    result = SOLVERS["lbfgs"](barrier, jnp.array([start]), lr=20.0, line_search_fn=None)
    np.testing.assert_array_equal(result.params, [start])


@jax.custom_vjp
def _wrong(x: Any) -> Any:
    return jnp.sum(x**2)


_wrong.defvjp(lambda x: (_wrong(x), x), lambda x, dy: (-2 * x * dy,))


def test_optax_agrees() -> None:
    optax = pytest.importorskip("optax")
    found = solve("lbfgs", tree(problems.DECAY_START), tolerance_grad=1e-12, tolerance_change=0.0)
    x = tree(problems.DECAY_START)
    solver = optax.lbfgs()
    step = jax.jit(
        lambda x, state, v, g: solver.update(
            g, state, x, value=v, grad=g, value_fn=half_squares
        )
    )  # fmt: skip
    state, both = solver.init(x), jax.jit(jax.value_and_grad(half_squares))
    with jax.numpy_dtype_promotion("standard"):  # optax mixes int32 and int64
        for _ in range(25):
            updates, state = step(x, state, *both(x))
            x = optax.apply_updates(x, updates)
    for ours, theirs in zip(jax.tree.leaves(found.params), jax.tree.leaves(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert found.value <= half_squares(x) * (1 + 23 * EPS)


def test_float32_and_bfloat16_leaves() -> None:
    """Arithmetic in the widest, each leaf in its own dtype; under vmap each start by itself."""
    start = {"a": jnp.array([2.0, -1.0], jnp.bfloat16), "b": jnp.array(3.0, jnp.float32)}

    def f(p: Any) -> Any:
        return jnp.sum((p["a"].astype(jnp.float32) - 0.5) ** 2) + (p["b"] - 0.25) ** 2

    found = SOLVERS["bfgs"](f, start)
    assert found.params["a"].dtype == jnp.bfloat16
    assert found.params["b"].dtype == found.value.dtype == jnp.float32
    np.testing.assert_allclose(found.params["b"], 0.25, atol=1e-6)
    np.testing.assert_allclose(found.params["a"].astype(jnp.float32), 0.5)
    run = jax.vmap(lambda x: SOLVERS["bfgs"](lambda x: jnp.sum((x - 0.5) ** 2), x))
    both = run(jnp.array([[0.5], [3.0]], jnp.float32))
    assert both.iterations.tolist()[0] == 0 < both.iterations.tolist()[1]
    assert both.code.tolist() == [OUTCOMES.index("converged")] * 2


@each
def test_no_elements(name: str) -> None:
    f = (lambda p: jnp.ones(2)) if name in LEAST else (lambda p: jnp.ones(()))
    for start in ({}, {"a": jnp.zeros((0, 3))}):
        assert SOLVERS[name](f, start).outcome == "converged"


@pytest.mark.parametrize(("option", "value", "says"), REJECTS, ids=lambda x: str(x)[:40])
def test_options(option: str, value: Any, says: str) -> None:
    for name in [TAKES[option]] if option in TAKES else list(SOLVERS):
        with pytest.raises(SpecError, match=f"^{re.escape(f'{name}: {says}')}$"):
            SOLVERS[name](half_squares, tree(problems.DECAY_START), **{option: value})


@each
def test_refuses(name: str) -> None:
    with pytest.raises(SpecError, match=f"^{name}: a leaf has dtype int32, expected a real float"):
        SOLVERS[name](half_squares, {"a": jnp.arange(3, dtype=jnp.int32)})
    what = "the residuals have" if name in LEAST else "the function gives"
    more = "dtype int32" if name in LEAST else r"int32 \(2,\)"
    with pytest.raises(SpecError, match=f"^{name}: {what} {more}, expected a"):
        SOLVERS[name](lambda p: jnp.ones(2, jnp.int32), jnp.ones(3))


def test_same_names_as_the_specification() -> None:
    assert list(SOLVERS) == list(spec.SOLVERS)
    assert OUTCOMES is spec.OUTCOMES
