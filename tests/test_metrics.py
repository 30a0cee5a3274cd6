"""Plateaus and early stopping in both frameworks, against the specification, torch, optax, flax."""

from __future__ import annotations

import copy
import inspect
import math
from typing import Any

import numpy as np
import pytest

from bpx.spec import SpecError
from tests.trajectories import label
from tests.transform_inputs import SPECS, complete

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp

from bpx_jax import transforms
from bpx_torch import optim

PLATEAU, STOPPING = SPECS["reduce_lr_on_plateau"], SPECS["early_stopping"]
RATES = (0.3, 0.07)
rng = np.random.default_rng(5)
METRICS = [*(3 * 0.93 ** np.arange(40) + 0.25 * rng.normal(size=40)), math.nan, *[0.31] * 30]
METRICS[25] = math.inf


def specified(trial: dict[str, Any], lr: float) -> list[float]:
    options, out = complete(PLATEAU, trial), []
    state = PLATEAU.init(lr, **options)
    for metric in METRICS:
        lr, state = PLATEAU.step(metric, lr, state, **options)
        out.append(lr)
    return out


def scheduler(module: Any, trial: dict[str, Any]) -> Any:
    o = complete(PLATEAU, trial)
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in RATES]
    threshold = ("rel", o["rtol"]) if o["atol"] == 0 else ("abs", o["atol"])
    kw = {k: o[k] for k in ("mode", "factor", "patience", "cooldown", "min_lr", "eps")}
    opt = torch.optim.SGD(groups, lr=0.1)
    return module.ReduceLROnPlateau(opt, threshold=threshold[1], threshold_mode=threshold[0], **kw)


def follow(plateau: Any, metrics: Any) -> list[Any]:
    rows = []
    for metric in metrics:
        plateau.step(metric)
        rows.append([float(g["lr"]) for g in plateau.optimizer.param_groups])
    return rows


@pytest.mark.parametrize("trial", PLATEAU.trials, ids=label)
def test_plateau_in_torch(trial: dict[str, Any]) -> None:
    want = np.stack([specified(trial, lr) for lr in RATES], 1)
    theirs, ours = torch.optim.lr_scheduler, optim.lr_scheduler
    np.testing.assert_array_equal(follow(scheduler(theirs, trial), METRICS), want)
    np.testing.assert_array_equal(follow(scheduler(ours, trial), METRICS), want)
    for a, b in ((ours, theirs), (theirs, ours)):
        first, second = scheduler(a, trial), scheduler(b, {})
        follow(first, METRICS[:20])
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        np.testing.assert_array_equal(follow(second, METRICS[20:]), want[20:])
    assert str(inspect.signature(ours.ReduceLROnPlateau).parameters.keys()) == str(
        inspect.signature(theirs.ReduceLROnPlateau).parameters.keys()
    )


def test_plateau_lowers_a_group_that_was_added_and_not_by_eps() -> None:
    """As torch's: the number `min_lr` is every group's, and a change by eps itself is none."""
    rows = {}
    for module in (torch.optim.lr_scheduler, optim.lr_scheduler):
        opt = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        plateau = module.ReduceLROnPlateau(opt, factor=0.5, patience=0, min_lr=0.25, eps=0.25)
        more = {"params": [torch.nn.Parameter(torch.ones(1))], "lr": 4.0}
        opt.add_param_group(more)
        rows[module] = follow(plateau, [1.0] * 7)
    theirs, ours = rows.values()
    assert ours == theirs
    assert ours[-1] == [0.5, 0.5]


@pytest.mark.parametrize("trial", PLATEAU.trials, ids=label)
def test_plateau_in_jax(trial: dict[str, Any]) -> None:
    monitor = transforms.reduce_lr_on_plateau(**complete(PLATEAU, trial))
    step, lr = jax.jit(monitor.update), jnp.float64(0.3)
    state, got = monitor.init(lr), []
    for metric in METRICS:
        lr, state = step(jnp.float64(metric), lr, state)
        got.append(float(lr))
    # a product rounded twice at most, for each of the few times it falls
    np.testing.assert_allclose(got, specified(trial, 0.3), rtol=64 * 2.0**-52)
    assert step._cache_size() == 1


@pytest.mark.parametrize(
    "kw",
    [
        {"factor": 0.5, "patience": 3, "rtol": 0.1, "cooldown": 3},
        {"factor": 0.7, "patience": 1, "rtol": 0.0, "atol": 0.05, "min_scale": 0.2},
        {"factor": 0.6, "patience": 2, "atol": 0.01, "accumulation_size": 3},
    ],
)
def test_plateau_is_optaxs(kw: dict[str, Any]) -> None:
    grads = {"w": jnp.asarray([1.0, -2.0]), "b": jnp.asarray(3.0)}
    paths = []
    for module in (transforms, optax.contrib):
        tx = module.reduce_on_plateau(**kw)
        if module is transforms:  # optax hands `value` on to transformations of its own class
            tx = optax.GradientTransformationExtraArgs(*tx)
        tx = optax.chain(optax.scale(-1.0), tx)
        with jax.numpy_dtype_promotion("standard"):
            step, state, rows = jax.jit(tx.update), tx.init(grads), []
            for metric in METRICS:
                updates, state = step(grads, state, value=jnp.float64(metric))
                rows.append(float(updates["b"]))
        paths.append((rows, jax.tree_util.tree_flatten_with_path(state)))
    np.testing.assert_allclose(paths[0][0], paths[1][0], rtol=64 * 2.0**-52)
    assert len(set(paths[0][0])) > 2
    (ours, _), (theirs, _) = paths[0][1], paths[1][1]
    assert [(str(k), v.dtype) for k, v in ours] == [(str(k), v.dtype) for k, v in theirs]
    np.testing.assert_allclose([v for _, v in ours], [v for _, v in theirs], rtol=64 * 2.0**-52)


def stops(trial: dict[str, Any]) -> Any:
    options, out = complete(STOPPING, trial), []
    state = STOPPING.init("start", **options)
    for t, metric in enumerate(METRICS):
        stop, state = STOPPING.step(metric, f"weights {t}", state, **options)
        out.append(stop)
    return out, state


@pytest.mark.parametrize("trial", STOPPING.trials, ids=label)
def test_early_stopping_in_both_frameworks(trial: dict[str, Any]) -> None:
    want, end = stops(trial)
    assert True in want
    net = torch.nn.Linear(1, 1, bias=False)
    ours = optim.EarlyStopping(**trial, model=net)
    monitor = transforms.early_stopping(**trial)
    update, state = jax.jit(monitor.update), monitor.init(jnp.float32(-1.0))
    for t, metric in enumerate(METRICS):
        if t == 20:  # resumed
            saved = copy.deepcopy(ours.state_dict())
            ours = optim.EarlyStopping(**trial, model=net)
            ours.load_state_dict(saved)
        with torch.no_grad():
            net.weight.fill_(float(t))
        assert ours.step(torch.tensor(metric, dtype=torch.float64)) == want[t]
        stop, state = update(jnp.float64(metric), jnp.float32(t), state)
        assert bool(stop) == want[t]
    assert (ours.best, ours.bad, ours.at) == (end["best"], end["bad"], end["at"])
    assert int(state.at) == end["at"]
    assert end["weights"] == f"weights {int(state.weights)}"
    ours.restore()
    assert net.weight.item() == end["at"]
    assert update._cache_size() == 1


def test_early_stopping_is_flaxs() -> None:
    flax = pytest.importorskip("flax.training.early_stopping")
    theirs = flax.EarlyStopping(min_delta=0.05, patience=2)  # it counts one more
    want, _ = stops({"patience": 3, "min_delta": 0.05})
    for metric, stop in zip(METRICS, want, strict=True):
        theirs = theirs.update(metric)
        assert theirs.should_stop == stop
        if stop:
            return
    raise AssertionError("it never stops")


def test_rejects() -> None:
    opt = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    plateau, stopping = optim.lr_scheduler.ReduceLROnPlateau, optim.EarlyStopping
    bad = [
        (lambda: plateau(opt, factor=1.0), "factor is 1.0, expected a number below 1"),
        (lambda: plateau(opt, mode="up"), "reduce_lr_on_plateau: mode is 'up', expected one of"),
        (lambda: plateau(opt, threshold_mode="x"), "threshold_mode is 'x', expected one of"),
        (lambda: plateau(opt, min_lr=[0.1, 0.2]), "min_lr is [0.1, 0.2], expected a number or 1"),
        (lambda: stopping(patience=0), "early_stopping: patience is 0, expected an integer"),
        (lambda: stopping().restore(), "early_stopping: model is None, expected a module"),
        (lambda: transforms.reduce_on_plateau(patience=0), "patience is 0, expected an integer"),
        (lambda: transforms.reduce_on_plateau(rtol=0.0), "rtol and atol are 0, expected one"),
        (lambda: transforms.early_stopping(mode="x"), "early_stopping: mode is 'x', expected"),
        (lambda: transforms.reduce_lr_on_plateau(factor=2.0), "factor is 2.0, expected a number"),
    ]
    for call, message in bad:
        with pytest.raises(SpecError) as caught:
            call()
        assert message in str(caught.value)
