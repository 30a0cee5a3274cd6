"""How the solvers of bpx.solvers end, one test for each outcome, and what they refuse."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from bpx import solvers
from bpx.spec import SpecError
from tests import solver_problems as problems
from tests.solver_problems import EXACT
from tests.test_solvers import each, solved

QUASI = pytest.mark.parametrize("name", ["bfgs", "lbfgs"])


@each
def test_converged_at_the_start(name: str) -> None:
    found = solved(name, np.array([1.0, 1.0]))
    assert (found.outcome, found.iterations, found.evaluations) == ("converged", 0, 1)


@each
def test_gradient_tolerance(name: str) -> None:
    found = solved(name, tolerance_grad=1e-3, tolerance_change=0.0)
    assert found.outcome == "converged"
    assert found.gradient <= 1e-3


@each
def test_max_iterations(name: str) -> None:
    found = solved(name, max_iter=3, **EXACT)
    assert (found.outcome, found.iterations) == ("max iterations", 3)
    x = found.x
    value, grad = problems.rosenbrock(x)
    half = 0.5 if name in ("gauss_newton", "levenberg_marquardt") else 1.0
    assert found.value == pytest.approx(half * value, rel=1e-12)
    assert found.gradient == pytest.approx(half * np.abs(grad).max(), rel=1e-12)


@each
def test_max_evaluations(name: str) -> None:
    found = solved(name, max_eval=4, **EXACT)
    assert (found.outcome, found.evaluations) == ("max evaluations", 4)


@each
def test_small_change(name: str) -> None:
    given = {"tolerance_grad": 0.0, "tolerance_change": 1e-3}
    if name == "gauss_newton":  # which is exact in its last step on Rosenbrock's function
        found = solvers.gauss_newton(problems.decay_residual, problems.DECAY_START, **given)
    else:
        found = solved(name, **given)
    assert found.outcome == "small change"
    assert found.iterations > 0


@QUASI
def test_small_slope(name: str) -> None:
    found = solvers.SOLVERS[name](
        lambda x: (0.5 * x @ x, x), np.array([1e-3]), tolerance_grad=0.0, tolerance_change=1e-5
    )
    assert (found.outcome, found.iterations) == ("small change", 0)


def wrong(x: Any) -> Any:
    """A gradient of the wrong sign."""
    return x @ x, -2 * x


def test_line_search_failed() -> None:
    start = np.array([1.0, 2.0])
    for found in (
        solvers.bfgs(wrong, start),
        solvers.lbfgs(wrong, start),
        solvers.newton(wrong, lambda x: 2 * np.eye(2), start),
        solvers.gauss_newton(lambda x: (x, -np.eye(2)), start),
    ):
        assert found.outcome == "line search failed"
        np.testing.assert_array_equal(found.x, start)
        assert found.iterations == (0 if found.evaluations < 30 else found.iterations)


def test_a_direction_uphill_is_a_failed_search() -> None:
    found = solvers.newton(wrong, lambda x: np.full((2, 2), np.inf), np.ones(2))
    assert found.outcome == "non-finite"


def bounded(x: Any) -> Any:
    """-log of what is left of 1: a number inside the unit ball alone."""
    left = 1 - x @ x
    if left <= 0:
        return np.nan, np.full_like(x, np.nan)
    return -np.log(left) + x[0], 2 * x / left + np.eye(len(x))[0]


@QUASI
def test_backs_off_from_what_is_not_finite(name: str) -> None:
    found = solvers.SOLVERS[name](
        bounded, np.array([0.9, 0.3]), lr=30.0, tolerance_grad=1e-12, tolerance_change=0.0
    )
    assert found.outcome == "converged"
    # 2 x / (1 - x^2) = -1
    np.testing.assert_allclose(found.x, [1 - 2**0.5, 0], atol=1e-12)


def spoiled(f: Any, after: int, what: float) -> Any:
    """f until it has been called so often, then a value of `what`."""
    calls = 0

    def g(x: Any) -> Any:
        nonlocal calls
        calls += 1
        a, b = f(x)
        return (a, b) if calls <= after else (a * what, b)

    return g


@pytest.mark.parametrize("what", [np.nan, np.inf])
@pytest.mark.parametrize("after", [0, 3])
def test_non_finite(after: int, what: float) -> None:
    x0 = problems.ROSENBROCK_START
    f, r = problems.rosenbrock, problems.rosenbrock_residual
    for found in (
        solvers.bfgs(spoiled(f, after, what), x0),
        solvers.lbfgs(spoiled(f, after, what), x0),
        solvers.lbfgs(spoiled(f, after, what), x0, line_search_fn=None, lr=1e-3),
        solvers.newton(spoiled(f, after, what), problems.rosenbrock_hessian, x0),
        solvers.gauss_newton(spoiled(r, after, what), x0),
    ):
        assert found.outcome == "non-finite"
        assert np.isfinite(found.x).all()
        assert np.isfinite(found.value) == (after > 0)
    found = solvers.levenberg_marquardt(spoiled(r, after, what), x0, max_iter=1000, **EXACT)
    # the damping grows until the step is no longer one
    assert found.outcome == ("non-finite" if after == 0 else "line search failed")
    assert np.isfinite(found.x).all()


def test_jacobian_that_is_not_finite() -> None:
    def f(x: Any) -> Any:
        return np.zeros(2), np.array([[np.inf, 0], [0, 1]])

    assert solvers.levenberg_marquardt(f, np.ones(2)).outcome == "non-finite"
    assert solvers.gauss_newton(f, np.ones(2)).outcome == "non-finite"


def test_no_parameters() -> None:
    empty = np.zeros(0)
    for found in (
        solvers.bfgs(lambda x: (2.0, x), empty),
        solvers.lbfgs(lambda x: (2.0, x), empty),
        solvers.newton(lambda x: (2.0, x), lambda x: np.zeros((0, 0)), empty),
        solvers.gauss_newton(lambda x: (np.array([2.0]), np.zeros((1, 0))), empty),
        solvers.levenberg_marquardt(lambda x: (np.array([2.0]), np.zeros((1, 0))), empty),
    ):
        assert (found.outcome, found.value, found.gradient) == ("converged", 2.0, 0.0)


def test_float32_stays_float32() -> None:
    def f(x: Any) -> Any:
        value, grad = problems.rosenbrock(x)
        return np.float32(value), grad

    x0 = problems.ROSENBROCK_START.astype(np.float32)
    found = solvers.lbfgs(f, x0, tolerance_grad=1e-4, tolerance_change=0.0)
    assert found.converged
    assert found.x.dtype == np.float32
    np.testing.assert_allclose(found.x, 1, atol=1e-3)


REJECTS = [
    ("max_iter", 0, "max_iter is 0, expected an integer at least 1"),
    ("max_iter", True, "max_iter is True, expected an integer at least 1"),
    ("max_eval", 2.5, "max_eval is 2.5, expected an integer at least 1"),
    ("tolerance_grad", -1, "tolerance_grad is -1, expected a finite number at least 0"),
    ("tolerance_grad", "low", "tolerance_grad is 'low', expected a finite number at least 0"),
    ("tolerance_change", np.inf, "tolerance_change is inf, expected a finite number at least 0"),
    ("lr", 0.0, "lr is 0.0, expected a finite number above 0"),
    ("lr", np.nan, "lr is nan, expected a finite number above 0"),
    ("history_size", 0, "history_size is 0, expected an integer at least 1"),
    ("line_search_fn", "w", "line_search_fn is 'w', expected one of [None, 'strong_wolfe']"),
    ("damping", -2, "damping is -2, expected a finite number at least 0"),
    ("tau", 0, "tau is 0, expected a finite number above 0"),
]  # fmt: skip
TAKES = {"history_size": "lbfgs", "line_search_fn": "lbfgs", "damping": "newton",
         "tau": "levenberg_marquardt", "lr": "bfgs"}  # fmt: skip


@pytest.mark.parametrize(("option", "value", "says"), REJECTS, ids=lambda x: str(x)[:40])
def test_options(option: str, value: Any, says: str) -> None:
    names = [TAKES[option]] if option in TAKES else list(solvers.SOLVERS)
    for name in names:
        with pytest.raises(SpecError, match=f"^{re.escape(f'{name}: {says}')}$"):
            solved(name, **{option: value})


def test_shapes_of_what_the_callers_functions_return() -> None:
    x = np.ones(2)
    for call, says in (
        (
            lambda: solvers.bfgs(lambda x: (1.0, np.ones(3)), x),
            "bfgs: the gradient has shape (3,), expected (2,)",
        ),
        (
            lambda: solvers.newton(lambda x: (1.0, x), lambda x: x, x),
            "newton: the Hessian has shape (2,), expected (2, 2)",
        ),
        (
            lambda: solvers.gauss_newton(lambda x: (np.ones(3), np.ones((2, 3))), x),
            "gauss_newton: the Jacobian has shape (2, 3), expected (3, 2)",
        ),
        (
            lambda: solvers.levenberg_marquardt(lambda x: (np.ones((3, 1)), np.ones((3, 2))), x),
            "levenberg_marquardt: the residual has shape (3, 1), expected (3,)",
        ),
    ):
        with pytest.raises(SpecError, match=f"^{re.escape(says)}$"):
            call()
