"""The line searches and Newton's damping of bpx_torch and bpx_jax, beside the specification's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bpx import solvers
from bpx.solvers._wolfe import MOST, strong_wolfe
from tests.test_solvers_search import EPS, LINES, line

FIRST = (1e-4, 0.3, 1.0, 50.0)
# lines that JAX can trace; the others are Python's
TRACED = {
    "ripples": lambda t, np: ((t - 3) ** 2 - np.sin(20 * t), 2 * (t - 3) - 20 * np.cos(20 * t)),
    "ripples down": lambda t, np: (
        0.1 * (t - 30) ** 2 - np.sin(8 * t),
        0.2 * (t - 30) - 8 * np.cos(8 * t),
    ),
    "far": lambda t, np: (-t / (t**2 + 2e4), (t**2 - 2e4) / (t**2 + 2e4) ** 2),
    "flat": lambda t, np: (
        (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
        5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3,
    ),
    "wall": lambda t, np: (-t - np.log(1 - t) * 0.01, -1 + 0.01 / (1 - t)),
    # whose cubic is lowest at an end, again and again
    "steep": lambda t, np: (1e4 * t**2.5 - t, 2.5e4 * t**1.5 - 1),
    "narrow": lambda t, np: (np.cosh(3 * t - 2) - t, 3 * np.sinh(3 * t - 2) - 1),
}


def by_spec(phi: Any, first: float) -> tuple[float, int]:
    tried: list[float] = []

    def noted(t: float) -> Any:
        tried.append(t)
        return phi(t)

    found, _ = strong_wolfe(noted, phi(0.0), first, 0.0, EPS, MOST)
    return found.t, len(tried)


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("name", LINES)
def test_torchs_search(name: str, first: float) -> None:
    pytest.importorskip("torch")
    from bpx_torch.solvers._wolfe import Trial, search

    tried: list[float] = []

    def evaluate(t: float) -> Any:
        tried.append(t)
        p = LINES[name](t)
        return Trial(t, p.value, p.slope, None)  # type: ignore[arg-type]

    start = evaluate(0.0)
    found, last = search(evaluate, start, first, 0.0, EPS, MOST)
    t, count = by_spec(LINES[name], first)
    assert found.t == pytest.approx(t, rel=1e-8)
    assert len(tried) - 1 == count
    assert last.t == tried[-1]


@pytest.mark.parametrize("name", TRACED)
def test_jaxs_search(name: str) -> None:
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    from bpx_jax.solvers._wolfe import Trial, search

    def evaluate(t: Any) -> Any:
        value, slope = TRACED[name](t, jnp)
        return Trial(t, value, slope, jnp.zeros(1), ())

    @jax.jit
    def run(first: Any) -> Any:
        zero = jnp.zeros(())
        found, tried, _ = search(evaluate, evaluate(zero), first, zero, jnp.asarray(MOST))
        return found.t, tried

    phi = LINES.get(name)
    if phi is None:
        phi = line(lambda t: TRACED[name](t, math)[0], lambda t: TRACED[name](t, math)[1])
    for first in FIRST[: 3 if name == "narrow" else 4]:
        t, count = by_spec(phi, first)
        found, tried = run(jnp.asarray(first))
        assert float(found) == pytest.approx(t, rel=1e-8)
        assert int(tried) == count


def saddle(x: Any) -> Any:
    """Of a list of two numbers: an indefinite Hessian at the start, (0.3, 1e-3)."""
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 + 0.3 * x[0] * x[1]


SADDLE = np.array([0.3, 1e-3])


def from_saddle() -> Any:
    return solvers.newton(
        lambda x: (
            float(saddle(x)),
            np.array([2 * x[0] + 0.3 * x[1], -2 * x[1] + 4 * x[1] ** 3 + 0.3 * x[0]]),
        ),
        lambda x: np.array([[2, 0.3], [0.3, -2 + 12 * x[1] ** 2]]),
        SADDLE,
        max_iter=3,
    )


def test_newtons_damping_in_torch() -> None:
    torch = pytest.importorskip("torch")
    from bpx_torch.solvers import SOLVERS

    p = torch.nn.Parameter(torch.tensor(SADDLE))
    SOLVERS["newton"]([p], max_iter=3).step(lambda: saddle(p))
    np.testing.assert_allclose(p.detach().numpy(), from_saddle().x, rtol=1e-9)


def test_newtons_damping_in_jax() -> None:
    jax = pytest.importorskip("jax")
    from bpx_jax.solvers import SOLVERS

    found = jax.jit(lambda x: SOLVERS["newton"](saddle, x, max_iter=3))(SADDLE)
    np.testing.assert_allclose(found.params, from_saddle().x, rtol=1e-9)
