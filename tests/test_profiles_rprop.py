"""Rprop under the profile "optax" against optax itself, by the step sizes: optax makes each step a
call late, so its parameters are others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from bpx.optimizers.rprop import SPEC
from bpx_jax import optim as of_jax
from bpx_torch import optim as of_torch
from bpx_torch.optimizers import rprop
from tests import trajectories as tj
from tests.libraries import lenient

RATE = 0.9
GIVEN: tuple[dict[str, Any], ...] = ({}, {"step_sizes": (1e-3, 0.5)}, {"etas": (0.4, 1.3)})
GRADIENTS = tj.gradients(SPEC, absent=False, steps=12)


def of_transformation(tx: Any) -> list[Any]:
    held = [jax.numpy.asarray(p) for p in tj.parameters(SPEC)]
    state, path = tx.init(held), []
    with lenient():
        for gs in GRADIENTS:
            _, state = tx.update([jax.numpy.asarray(g) for g in gs], state, held)
            path.append(([np.asarray(x) for x in state[0].step_sizes], [{}] * len(held)))
    return path


def of_class(**options: Any) -> list[Any]:
    params = [torch.nn.Parameter(torch.tensor(p)) for p in tj.parameters(SPEC)]
    optimizer, path = of_torch.Rprop(params, lr=RATE, **options), []
    for gs in GRADIENTS:
        for p, g in zip(params, gs, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
        found = [optimizer.state[p]["step_size"].numpy().copy() for p in params]
        path.append((found, [{}] * len(params)))
    return path


@pytest.mark.parametrize("given", GIVEN, ids=tj.label)
def test_step_sizes_are_optaxs(given: dict[str, Any]) -> None:
    low, high = given.get("step_sizes", (1e-6, 50.0))
    minus, plus = given.get("etas", (0.5, 1.2))
    options = {"eta_minus": minus, "eta_plus": plus, "min_step_size": low, "max_step_size": high}
    want = of_transformation(optax.rprop(RATE, **options))
    tj.assert_same(
        of_transformation(of_jax.rprop(RATE, **options, profile="optax")), want, "bpx_jax", 1e-12
    )
    for foreach in (False, True):
        got = of_class(**given, profile="optax", foreach=foreach)
        tj.assert_same(got, want, f"bpx_torch, foreach={foreach}", 1e-12)
    if high < RATE:  # where the profiles differ
        for other in (
            of_class(**given, profile="torch"),
            of_transformation(of_jax.rprop(RATE, **options, profile="torch")),
        ):
            assert tj.worst(other, want)[0] > 1e-3


@pytest.mark.parametrize("clamp", [True, False])
def test_large_arrays_among_small_ones_take_the_same_steps(monkeypatch, clamp):
    """foreach takes some arrays together, others alone."""
    monkeypatch.setattr(rprop, "LARGE", 6)
    paths = []
    for foreach in (True, False):
        params = [torch.nn.Parameter(torch.tensor(p)) for p in tj.parameters(SPEC)]
        assert {p.numel() > 6 for p in params} == {True, False}
        optimizer = of_torch.Rprop(params, lr=0.9, foreach=foreach)
        for group in optimizer.param_groups:
            group["clamp_unchanged"] = clamp
        for gs in GRADIENTS:
            for p, g in zip(params, gs, strict=True):
                p.grad = torch.tensor(g)
            optimizer.step()
        paths.append([p.detach() for p in params])
    assert all(torch.equal(a, b) for a, b in zip(*paths, strict=True))
