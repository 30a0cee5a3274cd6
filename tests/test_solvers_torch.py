"""bpx_torch's solvers against the specification and torch.optim.LBFGS, point by point."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx_torch import RULES
from bpx_torch.solvers import SOLVERS
from tests import solver_problems as problems
from tests.solver_problems import DECAY_START, EXACT, PENALTY, by_spec

each = pytest.mark.parametrize("name", SOLVERS)
EPS = float(np.finfo(np.float64).eps)
SHAPES = ((2, 1), (), (0, 3), (1,))


class Fit:
    """The fit of a decaying oscillation, or Rosenbrock's function of ten, by a solver."""

    def __init__(self, start: Any, dtype: Any = torch.float64) -> None:
        """Parameters of several shapes, one of which has no gradient, hold the start."""
        parts = torch.tensor(start, dtype=torch.float64).to(dtype).split([2, 1])
        self.params = [torch.nn.Parameter(p.clone()) for p in (parts[0].view(2, 1), parts[1][0])]
        self.unused = torch.nn.Parameter(torch.ones(0, 3, dtype=dtype))
        self.points: list[Any] = []
        self.optimizer: Any = None

    @property
    def all(self) -> list[Any]:
        return [*self.params, self.unused]

    def vector(self) -> Any:
        return torch.cat([p.reshape(-1) for p in self.params])

    def residual(self) -> Any:
        x = self.vector()
        self.points.append(x.detach().double().numpy().copy())
        t, y = (torch.tensor(a, dtype=x.dtype) for a in problems.decay_data())
        return x[0] * torch.exp(-x[1] * t) * torch.cos(x[2] * t) - y

    def loss(self) -> Any:
        return self.residual().square().sum() / 2

    def backward(self) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss

    def closure(self, name: str) -> Any:
        least = name in ("gauss_newton", "levenberg_marquardt")
        return self.residual if least else self.loss if name == "newton" else self.backward

    def run(self, name: str, calls: int = 1, theirs: bool = False, **options: Any) -> Any:
        cls = torch.optim.LBFGS if theirs else SOLVERS[name]
        self.optimizer = cls(self.all, **options)
        for _ in range(calls):
            self.optimizer.step(self.closure(name))
        return self.optimizer


@each
@pytest.mark.parametrize("start", [DECAY_START, np.array([0.5, -0.2, 3.0])], ids=["near", "far"])
def test_points_are_those_of_the_specification(name: str, start: Any) -> None:
    options = {"max_iter": 12, "tolerance_grad": 1e-7, "tolerance_change": 0.0}
    more = {"max_eval": 99, "line_search_fn": "strong_wolfe"} if name == "lbfgs" else {}
    fit = Fit(start)
    optimizer = fit.run(name, **options, **more)
    want, points = by_spec(name, start, **options)
    found = optimizer.result
    # Newton evaluates the loss once more for each Hessian
    ours = fit.points
    if name == "newton":
        ours = [p for i, p in enumerate(ours) if i == 0 or not np.array_equal(p, ours[i - 1])]
    ours = ours[: len(points)]
    np.testing.assert_allclose(ours, points[: len(ours)], rtol=1e-8, atol=1e-10)
    assert found.outcome == want.outcome
    assert found.iterations == want.iterations
    assert (found.evaluations, found.matrices) == (want.evaluations, want.matrices)
    assert found.value == pytest.approx(want.value, rel=1e-9)
    assert found.gradient == pytest.approx(want.gradient, rel=1e-6, abs=1e-10)
    end = torch.cat([p.detach().reshape(-1) for p in found.x])
    np.testing.assert_allclose(end, want.x, rtol=1e-8)


TRIALS = {
    "fixed": {"lr": 0.3, "history_size": 3, "max_iter": 7},
    "one step a call": {"lr": 0.5, "max_iter": 1, "history_size": 4},
    "searched": {"line_search_fn": "strong_wolfe", "max_iter": 5, "max_eval": 60},
    "searched, lr": {"line_search_fn": "strong_wolfe", "lr": 0.05, "history_size": 2},
    "many a call": {"line_search_fn": "strong_wolfe", "max_iter": 40, "max_eval": 99},
    "tensor lr": {"lr": torch.tensor(0.3)},
}


@pytest.mark.parametrize("trial", TRIALS)
def test_lbfgs_walks_with_torchs(trial: str) -> None:
    """Every point at which the closure is called, over three calls of step."""
    start = DECAY_START
    ours, theirs = Fit(start), Fit(start)
    for fit, other in ((ours, False), (theirs, True)):
        fit.run("lbfgs", calls=3, theirs=other, tolerance_grad=1e-9, **TRIALS[trial])
    assert len(ours.points) == len(theirs.points)
    assert len(ours.points) >= 3
    np.testing.assert_allclose(ours.points, theirs.points, rtol=1e-9, atol=1e-11)
    a, b = (fit.optimizer.state_dict()["state"][0] for fit in (ours, theirs))
    assert (a["n_iter"], a["func_evals"]) == (b["n_iter"], b["func_evals"])
    for key in ("d", "prev_flat_grad", "prev_loss", "H_diag", "old_dirs", "old_stps", "ro"):
        x, y = ([torch.as_tensor(v) for v in _list(s[key])] for s in (a, b))
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-10, check_dtype=False)
    # torch keeps the step it did not take where the slope was too small for one
    assert float(a["t"]) == pytest.approx(float(b["t"]), rel=1e-9) or a["t"] == 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("first", [False, True], ids=["bpx first", "torch first"])
@pytest.mark.parametrize("trial", ["fixed", "searched"])
def test_state_dict_goes_both_ways(first: bool, trial: str) -> None:
    whole, part = Fit(DECAY_START), Fit(DECAY_START)
    whole.run("lbfgs", calls=4, theirs=True, **TRIALS[trial])
    part.run("lbfgs", calls=2, theirs=first, **TRIALS[trial])
    saved = part.optimizer.state_dict()
    part.optimizer = (SOLVERS["lbfgs"] if first else torch.optim.LBFGS)(part.all)
    part.optimizer.load_state_dict(saved)
    for _ in range(2):
        part.optimizer.step(part.backward)
    np.testing.assert_allclose(part.points, whole.points, rtol=1e-9, atol=1e-11)


@each
def test_goes_on_from_a_state_dict(name: str) -> None:
    """Exactly as if it had not been stopped; what is loaded is a copy."""
    options = {"max_iter": 3, **EXACT}
    whole, part = Fit(DECAY_START), Fit(DECAY_START)
    whole.run(name, calls=3, **options)
    first = part.run(name, **options)
    part.optimizer = SOLVERS[name](part.all)
    saved = first.state_dict()
    kept = copy.deepcopy(saved["state"])
    part.optimizer.load_state_dict(saved)
    for _ in range(2):
        part.optimizer.step(part.closure(name))
    np.testing.assert_array_equal(part.points, whole.points)
    for key, value in kept.get(0, {}).items():
        for x, y in zip(_list(value), _list(saved["state"][0][key]), strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)
    a, b = whole.optimizer.result, part.optimizer.result
    assert (a.outcome, a.value, a.gradient) == (b.outcome, b.value, b.gradient)


@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_rosenbrock_to_the_last_digit(name: str) -> None:
    w = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    more = {"line_search_fn": "strong_wolfe"} if name == "lbfgs" else {}
    optimizer = SOLVERS[name]([w], max_iter=100, **EXACT, **more)

    def loss() -> Any:
        return (1 - w[0]).square() + 100 * (w[1] - w[0].square()).square()

    def backward() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    returned = optimizer.step(loss if name == "newton" else backward)
    assert returned.item() == pytest.approx(24.2)
    assert optimizer.result.outcome == "converged"
    assert w.tolist() == [1.0, 1.0]
    assert (w.grad is None) == (name == "newton")


@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_digits_to_machine_precision(name: str) -> None:
    """Logistic regression by bpx's rules, in every digit that float64 has."""
    images, labels = problems.digits(every=3)
    x, y = torch.tensor(images), torch.tensor(labels)
    model = torch.nn.Linear(64, 10, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    more = {"line_search_fn": "strong_wolfe", "max_eval": 999} if name == "lbfgs" else {}
    optimizer = SOLVERS[name](
        model.parameters(), max_iter=300, tolerance_grad=8 * EPS, tolerance_change=0.0, **more
    )

    def loss() -> Any:
        logits = RULES["linear"](x, model.weight, model.bias)
        squares = model.weight.square().sum() + model.bias.square().sum()
        return RULES["cross_entropy"](logits, y, None) + PENALTY / 2 * squares

    def backward() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(loss if name == "newton" else backward)
    found = optimizer.result
    assert found.outcome == "converged"
    # f(x) - f* <= |g|^2 / (2 PENALTY): nothing beside the rounding of f
    assert 650 * found.gradient**2 / (2 * PENALTY) < EPS * found.value
    x = torch.cat([p.detach().reshape(-1) for p in found.x]).numpy()
    value, grad = problems.logistic(images, labels)(x)
    assert np.abs(grad).max() < 16 * EPS
    assert found.value == pytest.approx(value, rel=8 * EPS)
