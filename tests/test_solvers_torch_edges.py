"""bpx_torch's solvers at the edges: bfloat16, what is not finite, torch's tools."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx_torch import RULES
from bpx_torch.solvers import SOLVERS
from tests import solver_problems as problems
from tests.solver_problems import EXACT
from tests.test_solvers_torch import Fit, each

LEAST = ("gauss_newton", "levenberg_marquardt")
SEARCHED = {"lbfgs": {"line_search_fn": "strong_wolfe", "max_eval": 999}}


@each
def test_bfloat16_parameters(name: str) -> None:
    """State and steps are in float32: as near as a rounded parameter can come."""
    fit = Fit(problems.DECAY_START, torch.bfloat16)
    optimizer = fit.run(name, calls=2, max_iter=30, **SEARCHED.get(name, {}))
    assert all(p.dtype == torch.bfloat16 for p in fit.all)
    state = optimizer.state_dict()["state"]
    for value in state.get(0, {}).values():
        for a in value if isinstance(value, list) else [value]:
            assert not isinstance(a, torch.Tensor) or a.dtype == torch.float32
    # an eighth of the start's half sum of squares, 0.08
    assert fit.loss().item() < 0.06 < Fit(problems.DECAY_START).loss().item()
    other = SOLVERS[name](fit.all)
    other.load_state_dict(optimizer.state_dict())
    for value in other.state_dict()["state"].get(0, {}).values():
        for a in value if isinstance(value, list) else [value]:
            assert not isinstance(a, torch.Tensor) or a.dtype == torch.float32


def test_master_vector_within_a_step() -> None:
    """A hundred steps, each smaller than half a bfloat16, add up."""
    p = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.bfloat16))
    optimizer = SOLVERS["lbfgs"](
        [p], lr=1e-3, max_iter=100, max_eval=200, tolerance_change=0.0, history_size=1
    )

    def closure() -> Any:
        optimizer.zero_grad()
        loss = p.sum()  # a line: no curvature, every step is lr
        loss.backward()
        return loss

    optimizer.step(closure)
    # steps of 1e-3 from 1, each rounded: the float32 sum is 0.9
    assert p.item() == pytest.approx(0.9, abs=2**-9)


class Barrier:
    """x + -log(1 - x^2), a number for |x| < 1 alone."""

    def __init__(self, start: float) -> None:
        self.p = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.optimizer: Any = None

    def loss(self) -> Any:
        return self.p - torch.log(1 - self.p.square())

    def closure(self) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss


@pytest.mark.parametrize("name", ["bfgs", "lbfgs", "newton"])
def test_backs_off_from_what_is_not_finite(name: str) -> None:
    barrier = Barrier(0.9)
    more = SEARCHED.get(name, {})
    barrier.optimizer = SOLVERS[name]([barrier.p], lr=20.0, max_iter=50, **more)
    barrier.optimizer.step(barrier.loss if name == "newton" else barrier.closure)
    assert barrier.p.item() == pytest.approx(1 - 2**0.5, rel=1e-6)


def test_ends_at_a_finite_point() -> None:
    barrier = Barrier(0.9)
    optimizer = barrier.optimizer = SOLVERS["lbfgs"]([barrier.p], lr=20.0)
    optimizer.step(barrier.closure)
    assert optimizer.result.outcome == "non-finite"
    assert barrier.p.item() == 0.9
    assert optimizer.result.value == pytest.approx(barrier.loss().item())
    barrier.p.data.fill_(2.0)
    optimizer.step(barrier.closure)
    assert (optimizer.result.outcome, optimizer.result.evaluations) == ("non-finite", 1)
    assert barrier.p.item() == 2.0


@pytest.mark.parametrize("name", LEAST)
def test_least_squares_backs_off(name: str) -> None:
    p = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    optimizer = SOLVERS[name]([p], max_iter=60, tolerance_change=0.0)
    # the root is 1e-3; a step from 3 leads below 0, where there is no logarithm
    optimizer.step(lambda: p.log() - float(np.log(1e-3)))
    assert optimizer.result.outcome == "converged"
    assert p.item() == pytest.approx(1e-3, rel=1e-6)
    p.data.fill_(-1.0)
    optimizer.step(lambda: p.log())
    assert optimizer.result.outcome == "non-finite"


@pytest.mark.parametrize("name", ["newton", *LEAST])
def test_matrix_that_is_not_finite(name: str) -> None:
    """The root has a value at 0 and a gradient there, but no second derivative."""
    p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    power = 1.5 if name == "newton" else 0.5
    optimizer = SOLVERS[name]([p])
    optimizer.step(lambda: (p.pow(power) + p).sum() + 1)
    assert optimizer.result.outcome == "non-finite"
    assert p.item() == 0


@pytest.mark.parametrize("name", ["newton", *LEAST])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_chunks_give_the_same_matrix(name: str, size: int) -> None:
    want, got = Fit(problems.DECAY_START), Fit(problems.DECAY_START)
    want.run(name, max_iter=4)
    got.run(name, max_iter=4, chunk_size=size)
    np.testing.assert_allclose(got.points, want.points, rtol=1e-12)


def test_linear_loss_has_no_curvature() -> None:
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    optimizer = SOLVERS["newton"]([p], max_iter=1)
    optimizer.step(lambda: p.sum() * 3)
    # beta is 1 where the Hessian is zero; the first trial satisfies sufficient decrease alone
    assert optimizer.result.outcome == "max iterations"
    assert p[0].item() < 1
    assert p[0].item() - 1 == pytest.approx(p[1].item() - 2)


def test_rules_have_the_second_derivatives() -> None:
    """A module of bpx's rules, Newton and Gauss-Newton by its parameters."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 3, dtype=torch.float64), torch.randn(40, 2, dtype=torch.float64)
    for name, closure in (
        ("newton", lambda m: RULES["mse"](RULES["tanh"](RULES["linear"](x, *m.parameters())), y)),
        ("gauss_newton", lambda m: RULES["tanh"](RULES["linear"](x, *m.parameters())) - y),
    ):
        model = torch.nn.Linear(3, 2, dtype=torch.float64)
        optimizer = SOLVERS[name](model.parameters(), max_iter=80, tolerance_change=0.0)
        optimizer.step(lambda model=model, closure=closure: closure(model))
        assert optimizer.result.gradient < 1e-6


@each
def test_no_parameters_and_no_elements(name: str) -> None:
    p = torch.nn.Parameter(torch.zeros(0, 2))
    optimizer = SOLVERS[name]([p])

    def closure() -> Any:
        if name in ("bfgs", "lbfgs"):
            p.sum().backward()
        return p.sum() if name not in LEAST else p.reshape(-1)

    optimizer.step(closure)
    assert optimizer.result.outcome == "converged"


@each
def test_copies_and_pickles(name: str) -> None:
    fit = Fit(problems.DECAY_START)
    optimizer = fit.run(name, max_iter=2)
    assert copy.deepcopy(optimizer).result is None  # torch copies the state alone
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    optimizer.load_state_dict(torch.load(file))
    optimizer.step(fit.closure(name))


def test_scheduler_sets_the_first_trial() -> None:
    fit = Fit(problems.DECAY_START)
    fit.run("lbfgs", calls=0, lr=0.5, max_iter=1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(fit.optimizer, 0.1)
    fit.optimizer.step(fit.backward)
    scheduler.step()
    fit.optimizer.step(fit.backward)
    state = fit.optimizer.state_dict()["state"][0]
    assert state["t"] == pytest.approx(0.05)


def test_exact_tolerances_end_where_nothing_moves() -> None:
    """No loop at a point that rounding keeps in place."""
    p = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = SOLVERS["bfgs"]([p], max_iter=500, **EXACT)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p - 1 / 3).square().sum() + 5 + 1e-9 * p.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert optimizer.result.iterations < 60
    assert p.item() == pytest.approx(1 / 3 - 5e-10, abs=2e-16)
