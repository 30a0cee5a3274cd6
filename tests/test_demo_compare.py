"""python -m bpx demo --compare: counting, both frameworks, resuming, the page, refusals."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

for name in ("torch", "jax", "sklearn", "matplotlib", "rich", "jinja2", "safetensors"):
    pytest.importorskip(name)

from safetensors.numpy import load_file, save_file

from bpx.__main__ import main
from bpx.demo import compare, compare_page, compare_run
from bpx.demo.compare import METHODS, TRAIN, Meter


class Bowl:
    """loss = |w|^2 / 2, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def loss(self, w: Any) -> float:
        self.asked.append("loss")
        return float(w @ w / 2)

    def loss_and_grad(self, w: Any, rows: Any) -> Any:
        self.asked.append(None if rows is None else len(rows))
        return float(w @ w / 2), w

    def hessian(self, w: Any) -> Any:
        self.asked.append("hessian")
        return np.eye(len(w))


def ran(method: str, budget: int = 400) -> tuple[Any, Any, list[float]]:
    problem, ticks = Bowl(), []
    task = compare.task(0)
    return compare.train(method, problem, task, budget, ticks.append), problem, ticks


@pytest.mark.parametrize("method", METHODS)
def test_every_evaluation_is_counted(method: str) -> None:
    """What the problem was asked for costs what was paid, within the budget."""
    curve, problem, ticks = ran(method)
    n = len(compare.task(0).start)
    price = {"loss": 1.0, None: 2.0, "hessian": 2.0 * n}
    measured = (
        sum(a == "loss" for a in problem.asked) if "stoch" in method or "mini" in method else 0
    )
    paid = sum(price.get(a, 2 * a / TRAIN if isinstance(a, int) else 0.0) for a in problem.asked)
    assert paid - measured == pytest.approx(ticks[-1])
    assert ticks == sorted(ticks)
    assert ticks[-1] <= 400.001
    if curve.outcome == "budget spent":
        assert ticks[-1] + 2 * n + 2 > 400
    assert (np.diff(curve.loss) <= 0).all()
    assert (np.diff(curve.evaluations) >= 0).all()
    assert curve.loss[-1] == pytest.approx(curve.weights @ curve.weights / 2)
    if method in ("L-BFGS", "Newton"):
        assert curve.outcome == "converged"
        assert curve.loss[-1] == 0


def test_batches_are_epochs() -> None:
    """Every image once in each epoch."""
    rows: list[Any] = []
    problem = Bowl()
    grad = problem.loss_and_grad
    problem.loss_and_grad = lambda w, r: (rows.extend([] if r is None else r), grad(w, r))[1]  # type: ignore[method-assign]
    compare.train("mini-batch descent", problem, compare.task(0), 4, lambda spent: None)
    assert len(rows) == 2 * TRAIN
    epochs = np.array(rows).reshape(2, TRAIN)
    np.testing.assert_array_equal(np.sort(epochs), [np.arange(TRAIN)] * 2)
    assert (epochs[0] != epochs[1]).any()


def test_a_loss_that_is_not_a_number_ends_it() -> None:
    meter = Meter(Bowl(), np.ones(2), 10, lambda spent: None)
    meter._note(np.zeros(2), float("nan"))
    np.testing.assert_array_equal(meter.weights, np.ones(2))
    task = compare.task(0)
    problem = Bowl()
    problem.loss_and_grad = lambda w, rows: (0.0, w * np.inf)  # type: ignore[method-assign]
    with np.errstate(invalid="ignore"):
        assert compare.train("Adam", problem, task, 99, lambda spent: None).outcome == "diverged"


def test_the_frameworks_derive_the_same() -> None:
    """Loss, gradient and Hessian at one point, and against differences of the loss."""
    from bpx_jax.compare import Problem as Jax
    from bpx_torch.compare import Problem as Torch

    task = compare.task(3)
    ours, theirs = (p(compare.SIZES, compare.PENALTY, task.x, task.y) for p in (Torch, Jax))
    w = task.start + 0.3
    assert ours.loss(w) == pytest.approx(theirs.loss(w), rel=1e-13)
    for rows in (None, np.array([4, 1, 7])):
        (a, g), (b, h) = (p.loss_and_grad(w, rows) for p in (ours, theirs))
        assert a == pytest.approx(b, rel=1e-13)
        np.testing.assert_allclose(g, h, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(ours.hessian(w), theirs.hessian(w), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(
        ours.logits(w, task.test_x), theirs.logits(w, task.test_x), rtol=1e-10
    )
    rng = np.random.default_rng(0)
    d = rng.normal(size=len(w))
    for value, slope in (
        (ours.loss, ours.loss_and_grad(w, None)[1] @ d),
        (lambda w: ours.loss_and_grad(w, None)[1], ours.hessian(w) @ d),
    ):
        h = 1e-5  # truncation h^2, rounding eps / h
        found = (np.asarray(value(w + h * d)) - np.asarray(value(w - h * d))) / (2 * h)
        np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-8)


ABOUT = ("demo", "--compare", "--evaluations", "200")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {k: METHODS[k] for k in ("batch descent", "L-BFGS", "annealing")}
    monkeypatch.setattr(compare, "METHODS", kept)
    for module in (compare_page, compare_run):
        monkeypatch.setattr(module, "METHODS", kept)
    lines = {k: v for k, v in compare_page.LINES.items() if k in kept}
    monkeypatch.setattr(compare_page, "LINES", lines)


@pytest.mark.usefixtures("few")
def test_a_run_and_its_page(tmp_path: Any, capsys: Any) -> None:
    assert main([*ABOUT, "--report", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "holds: batch descent, largest relative difference" in out
    page = (tmp_path / compare_page.NAME).read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "in PyTorch and in JAX" in page
    assert "http" not in page.split("</style>")[1]
    for method in compare_page.METHODS:
        assert page.count(f"<th>{method}</th>") == 1
    arrays = load_file(tmp_path / compare_run.NAME)
    for name in ("torch", "jax"):
        assert f"{arrays[f'{name}/L-BFGS/loss'][-1]:.6f}" in page
    # the stored runs are enough for the same page
    assert main([*ABOUT, "--report", str(tmp_path), "--resume"]) == 0
    assert (tmp_path / compare_page.NAME).read_text(encoding="utf-8") == page


@pytest.mark.usefixtures("few")
def test_stopped_and_resumed(tmp_path: Any, capsys: Any, monkeypatch: Any) -> None:
    """Ctrl-C loses the method that it meets alone; going on ends as an unstopped run."""
    train, calls = compare.train, []

    def stops(method: str, *rest: Any) -> Any:
        calls.append(method)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(method, *rest)

    options = (*ABOUT, "--framework", "jax")
    monkeypatch.setattr(compare, "train", stops)
    assert main([*options, "--report", str(tmp_path / "a")]) == 130
    out = capsys.readouterr().out
    assert "stopped after 1 of 3 runs, saved" in out
    again = "python -m bpx demo --framework jax --report"
    assert again in out
    assert "--compare --evaluations 200 --resume" in out
    calls.extend([""] * 9)
    assert main([*options, "--report", str(tmp_path / "a"), "--resume"]) == 0
    assert calls[-2:] == ["L-BFGS", "annealing"]
    assert main([*options, "--report", str(tmp_path / "b")]) == 0
    a, b = (load_file(tmp_path / x / compare_run.NAME) for x in "ab")
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def refused(capsys: Any, *options: str) -> str:
    code = main(["demo", *options])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    return err.removeprefix("bpx demo: ").strip()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--evaluations", "199"], "--evaluations is 199, expected 200 to 1000000"),
        (["--evaluations", "few"], "--evaluations is 'few', expected a whole number, 200 to 1000"),
        (["--epochs", "3"], "--epochs does not go with --compare, which takes --evaluations, --fr"),
        (["--init"], "--compare does not go with --init, which takes --framework, --report and"),
        (["--seed", "-1"], "--seed is -1, expected 0 to 4294967295"),
        (["--resume"], "there is no "),
    ],
)
def test_refuses(options: list[str], says: str, tmp_path: Any, capsys: Any) -> None:
    assert refused(capsys, "--compare", "--report", str(tmp_path), *options).startswith(says)


def test_evaluations_are_for_the_comparison(tmp_path: Any, capsys: Any) -> None:
    found = refused(capsys, "--evaluations", "500", "--report", str(tmp_path))
    assert found == "--evaluations goes with --compare alone"


@pytest.mark.parametrize("package", ["sklearn", "safetensors"])
def test_missing_package(package: str, tmp_path: Any, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    found = refused(capsys, "--compare", "--report", str(tmp_path))
    assert found == f"{package} is not installed: pip install 'bpx[demo]'"


def test_refuses_another_runs_checkpoint(tmp_path: Any, capsys: Any) -> None:
    about = {"format": 1, "frameworks": ["jax"], "seed": 0, "evaluations": 200}
    path = tmp_path / compare_run.NAME
    options = ("--compare", "--framework", "jax", "--report", str(tmp_path), "--resume")

    compare_run.save(path, {}, about)
    found = refused(capsys, *options)
    assert found == f"{path} belongs to another run: evaluations was 200, now it is 1500"

    size = len(compare.task(0).start)
    curve = compare.Curve(np.ones(3), np.ones(2), np.ones(size), 1, "")
    compare_run.save(path, {("jax", "Adam"): curve}, {**about, "evaluations": 1500})
    found = refused(capsys, *options)
    assert found == f"{path} is damaged: jax/Adam is [(3,), (2,), ({size},)], expected its curve"

    save_file({"a": np.ones(2)}, path)
    assert refused(capsys, *options) == f"{path} is no checkpoint of the demo"
    path.write_bytes(b"short")
    assert refused(capsys, *options).startswith(f"{path} is damaged or no safetensors file: ")
