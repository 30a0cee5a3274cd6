"""bpx.solvers: minima to the last digit, directions against the formulas as matrices."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpx import solvers
from bpx.spec import SpecError
from tests import solver_problems as problems
from tests.solver_problems import EXACT, ROSENBROCK_START, recorded

EPS = float(np.finfo(np.float64).eps)
ROOT = Path(__file__).resolve().parent.parent


def solved(name: str, x0: Any = ROSENBROCK_START, **options: Any) -> solvers.Result:
    """A solver on Rosenbrock's function."""
    solver = solvers.SOLVERS[name]
    if name == "newton":
        return solver(problems.rosenbrock, problems.rosenbrock_hessian, x0, **options)
    if name in ("gauss_newton", "levenberg_marquardt"):
        return solver(problems.rosenbrock_residual, x0, **options)
    return solver(problems.rosenbrock, x0, **options)


each = pytest.mark.parametrize("name", solvers.SOLVERS)


@each
def test_rosenbrock_to_the_last_digit(name: str) -> None:
    found = solved(name, **EXACT)
    assert found.outcome == "converged"
    assert found.converged
    np.testing.assert_array_equal(found.x, [1.0, 1.0])
    assert (found.value, found.gradient) == (0.0, 0.0)
    assert found.iterations < 60
    assert found.matrices == {"newton": found.iterations, "bfgs": 0, "lbfgs": 0}.get(
        name, found.evaluations
    )


@pytest.mark.parametrize("name", ["bfgs", "lbfgs"])
def test_ten_parameters(name: str) -> None:
    found = solved(name, np.tile(ROSENBROCK_START, 5), **EXACT)
    assert found.outcome == "converged"
    # the Hessian's condition is 2.5e3, the smallest eigenvalue 0.5
    np.testing.assert_allclose(found.x, 1.0, atol=10 * EPS)


def test_digits_to_machine_precision() -> None:
    """The gradient is a sum of terms that cancel; what is left is their rounding."""
    f = problems.logistic(*problems.digits(every=3))
    found = solvers.lbfgs(f, np.zeros(650), tolerance_grad=8 * EPS, tolerance_change=0.0)
    assert found.outcome == "converged"
    # f(x) - f* <= |g|^2 / (2 PENALTY): nothing beside the rounding of f
    assert 650 * found.gradient**2 / (2 * problems.PENALTY) < EPS * found.value


def test_scipy_agrees() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    want = optimize.least_squares(
        lambda x: problems.decay_residual(x)[0],
        problems.DECAY_START,
        jac=lambda x: problems.decay_residual(x)[1],
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    start = problems.DECAY_START
    for found in (
        solvers.gauss_newton(
            problems.decay_residual, start, tolerance_grad=1e-14, tolerance_change=0.0
        ),
        solvers.levenberg_marquardt(
            problems.decay_residual, start, tolerance_grad=1e-14, tolerance_change=0.0
        ),
        solvers.bfgs(problems.decay, start, tolerance_grad=1e-14, tolerance_change=0.0),
        solvers.lbfgs(problems.decay, start, tolerance_grad=1e-14, tolerance_change=0.0),
    ):
        np.testing.assert_allclose(found.x, want.x, rtol=1e-7)  # as near as scipy comes
        assert found.value <= want.cost * (1 + 23 * EPS)  # of as many terms


def dense_directions(points: list[Any], grads: list[Any], keep: int, rescale: bool) -> list[Any]:
    """-H g at every point, H built anew as a matrix by (6.17) from the last pairs."""
    found, scale = [], 1.0
    for k, g in enumerate(grads):
        pairs = [(points[i + 1] - points[i], grads[i + 1] - grads[i]) for i in range(k)]
        if pairs:
            s, y = pairs[-1 if rescale else 0]
            scale = (s @ y) / (y @ y)
        h = scale * np.eye(len(g))
        for s, y in pairs[-keep:]:
            v = np.eye(len(g)) - np.outer(s, y) / (y @ s)
            h = v @ h @ v.T + np.outer(s, s) / (y @ s)
        found.append(-h @ g)
    return found


def test_lbfgs_is_bfgs_on_the_last_pairs() -> None:
    points: list[Any] = []
    f = recorded(problems.decay, points)
    solvers.lbfgs(
        f, problems.DECAY_START, lr=0.4, history_size=3, max_iter=9, line_search_fn=None, **EXACT
    )
    grads = [problems.decay(x)[1] for x in points]
    assert len(points) == 10
    want = dense_directions(points, grads, keep=3, rescale=True)
    for k, d in enumerate(want[:-1]):
        t = 0.4 * min(1.0, 1 / np.abs(grads[0]).sum()) if k == 0 else 0.4
        np.testing.assert_allclose(points[k + 1] - points[k], t * d, rtol=1e-9, atol=1e-14)


def test_bfgs_keeps_every_pair() -> None:
    points: list[Any] = []
    # where every first trial is taken, the points evaluated are those of the trajectory
    f = recorded(problems.decay, points)
    found = solvers.bfgs(f, problems.DECAY_START, lr=0.2, max_iter=9, **EXACT)
    assert found.evaluations == 10
    grads = [problems.decay(x)[1] for x in points]
    for k, d in enumerate(dense_directions(points, grads, keep=99, rescale=False)[:-1]):
        t = 0.2 * min(1.0, 1 / np.abs(grads[0]).sum()) if k == 0 else 0.2
        np.testing.assert_allclose(points[k + 1] - points[k], t * d, rtol=1e-9, atol=1e-14)


def test_newton_leaves_a_saddle() -> None:
    """x^2 - y^2 + y^4: the Hessian is indefinite at the start, and zero elsewhere."""
    found = solvers.newton(
        lambda x: (x[0] ** 2 - x[1] ** 2 + x[1] ** 4,
                   np.array([2 * x[0], -2 * x[1] + 4 * x[1] ** 3])),
        lambda x: np.diag([2.0, -2 + 12 * x[1] ** 2]),
        np.array([0.3, 1e-3]),
        tolerance_grad=1e-14,
        tolerance_change=0.0,
    )  # fmt: skip
    np.testing.assert_allclose(found.x, [0, 0.5**0.5], atol=1e-14)
    flat = solvers.newton(
        lambda x: (float(np.sum(x**4)), 4 * x**3),
        lambda x: np.diag(12 * x**2),
        np.array([1.0, 0.0]),
        tolerance_change=0.0,
    )
    assert flat.converged


@pytest.mark.parametrize("damping", [0.0, 3.0])
def test_newton_direction_is_damped(damping: float) -> None:
    points: list[Any] = []
    a = np.array([[3.0, 1.0], [1.0, 2.0]])
    f = recorded(lambda x: (x @ a @ x / 2, a @ x), points)
    x0 = np.array([1.0, -2.0])
    solvers.newton(f, lambda x: a, x0, damping=damping, max_iter=1, **EXACT)
    np.testing.assert_allclose(
        points[1], x0 - np.linalg.solve(a + damping * np.eye(2), a @ x0), atol=8 * EPS
    )


def test_factor_adds_the_least_it_tries() -> None:
    b = np.array([[1.0, 2.0], [2.0, 1.0]])  # eigenvalues 3 and -1, a positive diagonal
    lower = solvers.newton.__globals__["factor"](b)
    added = lower @ lower.T - b
    tau = added[0, 0]
    np.testing.assert_allclose(added, tau * np.eye(2), atol=1e-14)
    assert 1 < tau <= 2
    beta = 1e-3 * np.linalg.norm(b)
    assert tau / beta == pytest.approx(2 ** round(np.log2(tau / beta)))
    zero = solvers.newton.__globals__["factor"](np.zeros((2, 2)))
    np.testing.assert_array_equal(zero, np.eye(2))


def test_gauss_newton_is_exact_for_linear_residuals() -> None:
    rng = np.random.default_rng(3)
    j, y = rng.normal(size=(7, 3)), rng.normal(size=7)
    found = solvers.gauss_newton(lambda x: (j @ x - y, j), np.zeros(3), tolerance_grad=1e-13)
    assert (found.iterations, found.outcome) == (1, "converged")
    np.testing.assert_allclose(found.x, np.linalg.lstsq(j, y)[0], rtol=1e-12)
    # of less than full rank: the shortest step
    j[:, 2] = j[:, 0]
    found = solvers.gauss_newton(lambda x: (j @ x - y, j), np.zeros(3), tolerance_grad=1e-13)
    assert found.x[0] == pytest.approx(found.x[2], rel=1e-12)


def test_levenberg_marquardt_first_step() -> None:
    points: list[Any] = []
    start = problems.DECAY_START
    f = recorded(problems.decay_residual, points)
    solvers.levenberg_marquardt(f, start, tau=0.3, max_iter=1, **EXACT)
    r, j = problems.decay_residual(start)
    a = j.T @ j
    h = np.linalg.solve(a + 0.3 * np.diag(a).max() * np.eye(3), -j.T @ r)
    np.testing.assert_allclose(points[1], start + h, rtol=1e-14)


def test_same_files_in_three_trees() -> None:
    """And the same names in the same order."""
    own = {p.name for p in (ROOT / "bpx/solvers").glob("*.py") if not p.name.startswith("_")}
    for framework in ("torch", "jax"):
        pytest.importorskip(framework)
        package = f"bpx_{framework}"
        theirs = {p.name for p in (ROOT / package / "solvers").glob("[!_]*.py")}
        assert theirs == own
        module = importlib.import_module(f"{package}.solvers")
        assert list(module.SOLVERS) == list(solvers.SOLVERS)


def test_refuses_what_is_no_vector_of_floats() -> None:
    with pytest.raises(SpecError, match=r"^lbfgs: x0 has shape \(\), expected one dimension$"):
        solvers.lbfgs(problems.rosenbrock, 1.0)
    with pytest.raises(
        SpecError, match=r"^bfgs: x0 has dtype int64, expected a real floating one$"
    ):
        solvers.bfgs(problems.rosenbrock, [1, 2])
