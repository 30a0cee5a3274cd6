"""Zero gradients, zero parameters and what has no elements: every step stays finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bpx.optimizers import ALL
from bpx.spec import Optimizer
from tests import trajectories as tj

# The options that would divide by zero if a rule did not look.
BARE: dict[str, dict[str, Any]] = {
    "lars": {"weight_decay": 0.0, "eps": 0.0, "trust_coefficient": 1.0},
    "lamb": {"max_grad_norm": 1.0, "eps_root": 1e-30},
    "adafactor": {"eps": (0.0, 0.0), "lr": 0.5},
    "muon": {"eps": 0.0, "lr": 0.5},
    "schedule_free_sgd": {"lr": 0.0},
    "shampoo": {"eps": 1e-12, "momentum": 0.5},
    "schedule_free_adamw": {"lr": 0.1, "warmup_steps": 3},
}
# (parameter, gradient)
PAIRS = [
    (np.zeros((3, 2)), np.zeros((3, 2))),
    (np.zeros((3, 2)), np.array([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]])),
    (np.ones((3, 2)), np.zeros((3, 2))),
    (np.zeros((0, 4)), np.zeros((0, 4))),
    (np.zeros((4, 0)), np.zeros((4, 0))),
]
each = pytest.mark.parametrize("name", BARE)
SPECS = {spec.name: spec for spec in ALL}


def expected(spec: Optimizer) -> list[Any]:
    options = tj.complete(spec, BARE[spec.name])
    with np.errstate(all="raise"):
        run = tj.spec_stepper(spec, [options] * len(PAIRS), [p for p, _ in PAIRS])
        for _ in range(2):
            found, _ = run([g for _, g in PAIRS])
    assert all(np.isfinite(p).all() for p in found)
    return found


@each
def test_torch(name: str, monkeypatch: Any) -> None:
    torch = pytest.importorskip("torch")
    from bpx_torch.optimizers import OPTIMIZERS
    from tests.torch_optimizers import accepted

    monkeypatch.setattr(OPTIMIZERS["muon"], "ns_dtype", None)
    want = expected(SPECS[name])
    for foreach in (False, True):
        params = [torch.nn.Parameter(torch.tensor(p)) for p, _ in PAIRS]
        kw = accepted(name, {**BARE[name], "foreach": foreach})
        optimizer = OPTIMIZERS[name](params, **kw)
        for _ in range(2):
            for p, (_, g) in zip(params, PAIRS, strict=True):
                p.grad = torch.tensor(g)
            optimizer.step()
        for p, w in zip(params, want, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12, atol=1e-15)


OPTAX: dict[str, dict[str, Any]] = {
    "lars": {"learning_rate": 1.0, "trust_coefficient": 1.0},
    "lamb": {"learning_rate": 0.1, "eps_root": 1e-30},
    "adafactor": {"learning_rate": 0.5, "eps": 0.0, "min_dim_size_to_factor": 1},
    "muon": {"learning_rate": 0.5, "eps": 0.0, "weight_decay": 0.1},
    "schedule_free_sgd": {"learning_rate": 0.5, "warmup_steps": 3},
    "shampoo": {"learning_rate": 0.1, "eps": 1e-12, "momentum": 0.5},
    "schedule_free_adamw": {"learning_rate": 0.1, "weight_decay": 0.1},
}


@each
def test_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    from bpx_jax.optimizers import OPTIMIZERS

    tx = OPTIMIZERS[name](**OPTAX[name])
    params = [jax.numpy.asarray(p) for p, _ in PAIRS]
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update([jax.numpy.asarray(g) for _, g in PAIRS], state, params)
        params = jax.tree.map(jax.numpy.add, params, updates)
    for x in jax.tree.leaves((params, state)):
        assert np.isfinite(x).all()
    assert not np.array_equal(params[1], PAIRS[1][0])  # a zero parameter moves
    assert params[3].shape == (0, 4)


def test_centered_rmsprop_stays_finite_where_torch_does_not() -> None:
    """A constant gradient: v - m^2 tends to 0, and rounding puts it below."""
    torch = pytest.importorskip("torch")
    from bpx_torch.optimizers import OPTIMIZERS

    ends = []
    for cls in (OPTIMIZERS["rmsprop"], torch.optim.RMSprop):
        p = torch.nn.Parameter(torch.zeros(400))
        optimizer = cls([p], centered=True, alpha=0.5, lr=1e-12)
        p.grad = torch.linspace(0.1, 3.0, 400)
        for _ in range(60):
            optimizer.step()
        ends.append(p.detach().clone())
    assert ends[0].isfinite().all()
    assert not ends[1].isfinite().all()
