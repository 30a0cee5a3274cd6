"""Shampoo against the paper's formula for a matrix; its state in float32 and in JAX."""

from __future__ import annotations

import numpy as np
import pytest

from bpx.optimizers.shampoo import SPEC as SHAMPOO
from tests import trajectories as tj

rng = np.random.default_rng(6)


def test_shampoo_of_a_matrix_is_the_papers_formula() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    options = tj.complete(SHAMPOO, {"lr": 0.3, "eps": 0.5})
    p = rng.normal(size=(4, 3))
    state = SHAMPOO.init(p, **options)
    left, right, want = 0.5 * np.eye(4), 0.5 * np.eye(3), p
    for t in range(1, 4):
        g = rng.normal(size=(4, 3))
        p, state = SHAMPOO.step(p, g, state, t, **options)
        left, right = left + g @ g.T, right + g.T @ g
        roots = [linalg.fractional_matrix_power(h, -0.25) for h in (left, right)]
        want = want - 0.3 * roots[0] @ g @ roots[1]
    np.testing.assert_allclose(p, want, rtol=1e-12, atol=1e-14)


def test_shampoos_state_in_bfloat16_and_in_jax() -> None:
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    from bpx_jax import optim
    from bpx_torch.optimizers import OPTIMIZERS

    p = torch.nn.Parameter(torch.ones(3, 2, dtype=torch.bfloat16))
    p.grad = torch.linspace(-1, 2, 6).reshape(3, 2).bfloat16()
    optimizer = OPTIMIZERS["shampoo"]([p], momentum=0.5, update_freq=2)
    optimizer.step()
    state = {k: v for k, v in optimizer.state[p].items() if k != "step"}
    assert all(v.dtype == torch.float32 for v in state.values())
    tx = optim.shampoo(0.1, momentum=0.5, update_freq=2)
    q, g = (jax.numpy.asarray(x.detach().float().numpy(), "bfloat16") for x in (p, p.grad))
    _, (scale, *_) = tx.update(g, tx.init(q), q)
    for i in range(2):
        for ours, theirs in (
            (scale.preconditioners[i], state[f"precond_{i}"]),
            (scale.roots[i], state[f"inv_precond_{i}"]),
        ):
            assert ours.dtype == "float32"
            # float32, once for the products and once for the roots of them over eps = 1e-4
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(abs(ours).max()))
