"""bpx.search: the rules of each method, schedules, resuming, the global basin."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from bpx import random
from bpx.search import COOLINGS, Annealing, LocalSearch, RandomSearch, State

START = np.array([4.3, -3.6])
METHODS = {
    "random_search": RandomSearch(700, scale=3.0),
    "local_search": LocalSearch(700, scale=0.4, noise="uniform", patience=30, spread=4.0),
    "annealing": Annealing(700, scale=0.7, temperature=8.0, final=0.3, restarts=2),
    "annealing from the start": Annealing(
        700, temperature=5.0, cooling="cauchy", noise="cauchy", restarts=1, restart_from="start"
    ),
}
each = pytest.mark.parametrize("name", METHODS)


def rastrigin(p: Any) -> float:
    """11^2 minima within |x| < 5.5, one to each pair of integers; 0 at 0."""
    return sum(10 + x * x - 10 * math.cos(2 * math.pi * x) for x in p.tolist())


def ackley(p: Any) -> float:
    x, y = p.tolist()
    ripples = math.exp((math.cos(2 * math.pi * x) + math.cos(2 * math.pi * y)) / 2)
    return -20 * math.exp(-0.2 * math.sqrt((x * x + y * y) / 2)) - ripples + 20 + math.e


@pytest.mark.parametrize(
    ("f", "method"),
    [
        (rastrigin, Annealing(3000, scale=0.8, temperature=10.0, final=0.3)),
        (ackley, Annealing(1000, scale=0.7, temperature=3.0, final=0.03)),
    ],
    ids=["rastrigin", "ackley"],
)
def test_annealing_finds_the_global_basin(f: Any, method: Any) -> None:
    """From a far minimum, with 100 seeds; the basin of 0 is the square of half width 1/2."""
    found = [method.run(f, START, seed) for seed in range(100)]
    assert sum(bool(np.abs(r.params).max() < 0.5) for r in found) >= 95
    # and local search does not, from the same place with as many evaluations
    stuck = LocalSearch(1000, scale=0.1).run(f, START, 0)
    assert np.abs(stuck.params).max() > 2


def watched(f: Any, seen: list[Any]) -> Any:
    def g(p: Any) -> Any:
        seen.append((np.array(p), f(p)))
        return seen[-1][1]

    return g


@each
def test_budget_and_best(name: str) -> None:
    seen: list[Any] = []
    found = METHODS[name].run(watched(rastrigin, seen), START, 3)
    assert len(seen) == found.evaluations == 700
    assert found.outcome == "budget spent"
    np.testing.assert_array_equal(seen[0][0], START)
    best = min(seen, key=lambda s: s[1])
    assert found.value == best[1] == rastrigin(found.params)
    np.testing.assert_array_equal(found.params, best[0])
    assert found.value < rastrigin(START) - 5


@each
def test_one_key_one_trajectory(name: str) -> None:
    paths: list[list[Any]] = []
    for key in (5, random.key(5), 6):
        paths.append([])
        METHODS[name].run(watched(rastrigin, paths[-1]), START, key)
    points = [np.array([p for p, _ in path]) for path in paths]
    np.testing.assert_array_equal(points[0], points[1])
    assert (points[0][1:] != points[2][1:]).all()


@each
@pytest.mark.parametrize("stops", [(1, 2, 350), (233, 234, 513)])
def test_resumed_is_not_stopped(name: str, stops: tuple[int, ...]) -> None:
    """Across blocks of draws and across restarts; the state goes through plain arrays."""
    whole: list[Any] = []
    parts: list[Any] = []
    want = METHODS[name].run(watched(rastrigin, whole), START, 9)
    state = None
    for stop in (*stops, 0):
        key = 9 if state is None else 123  # not read any more
        found = METHODS[name].run(watched(rastrigin, parts), START, key, state=state, pause=stop)
        assert found.outcome == ("paused" if stop else "budget spent")
        kept = found.state.arrays()
        state = State.from_arrays(kept)
        assert {k: v.dtype for k, v in state.arrays().items()} == {
            k: v.dtype for k, v in kept.items()
        }
    np.testing.assert_array_equal([p for p, _ in parts], [p for p, _ in whole])
    assert (found.value, found.accepted) == (want.value, want.accepted)
    again = METHODS[name].run(rastrigin, START, 9, state=state)  # nothing is left to do
    assert again.evaluations == 700


def draws(key: Any, noise: str, n: int) -> tuple[Any, Any]:
    """The moves and decisions of n candidates of two numbers, as the module's text has them."""
    zs, us = [], []
    for block in range(-(-n // 512)):
        moves, decisions = (random.fold_in(random.key(key), 2 * block + i) for i in (0, 1))
        if noise == "normal":
            z = random.normal(moves, (512, 2), np.float64)
        else:
            z = 2 * random.uniform(moves, (512, 2), np.float64) - 1
            z = np.tan(np.pi / 2 * z) if noise == "cauchy" else z
        zs.append(z)
        us.append(random.uniform(decisions, (512,), np.float64))
    return np.concatenate(zs)[:n], np.concatenate(us)[:n]


@pytest.mark.parametrize("noise", ["normal", "uniform", "cauchy"])
def test_random_search_is_around_the_start(noise: str) -> None:
    """Over three blocks of draws."""
    seen: list[Any] = []
    RandomSearch(1100, scale=2.5, noise=noise).run(watched(rastrigin, seen), START, 4)
    z, _ = draws(4, noise, 1099)
    np.testing.assert_array_equal([p for p, _ in seen[1:]], START + 2.5 * z)


def test_local_search_takes_what_is_downhill() -> None:
    seen: list[Any] = []
    method = LocalSearch(120, scale=0.3, patience=7, spread=2.0)
    found = method.run(watched(rastrigin, seen), START, 4)
    z, _ = draws(4, "normal", 119)
    x, value, since, taken = START, rastrigin(START), 0, 0
    for (p, v), row in zip(seen[1:], z, strict=True):
        restart = since >= 7
        np.testing.assert_array_equal(p, START + 2.0 * row if restart else x + 0.3 * row)
        since += 1
        if restart or v < value:
            x, value, since, taken = p, v, 0, taken + 1
    assert found.accepted == taken > 5
    assert any(seen[i + 1][1] > seen[i][1] for i in range(119))


@pytest.mark.parametrize("restart_from", ["best", "start"])
@pytest.mark.parametrize("cooling", COOLINGS)
def test_annealing_follows_metropolis(cooling: str, restart_from: str) -> None:
    seen: list[Any] = []
    method = Annealing(
        101, scale=0.5, temperature=90.0, final=0.2, cooling=cooling, restarts=2,
        restart_from=restart_from,
    )  # fmt: skip
    found = method.run(watched(rastrigin, seen), START, 8)
    z, u = draws(8, "normal", 100)
    length = 34  # a hundred candidates in three parts
    k = np.arange(length)
    t = {
        "geometric": np.geomspace(90.0, 0.2, length),
        "linear": np.linspace(90.0, 0.2, length),
        "logarithmic": 90.0 / np.log2(k + 2),
        "cauchy": 90.0 / (1 + k),
    }[cooling]
    np.testing.assert_allclose([method.at(i) for i in k], t, rtol=1e-14)
    x, value = START, rastrigin(START)
    best, uphill, taken = (x, value), 0, 0
    for n, (p, v) in enumerate(seen[1:]):
        if n and n % length == 0:
            x, value = best if restart_from == "best" else (START, math.inf)
        np.testing.assert_array_equal(p, x + 0.5 * z[n])
        if v <= value or u[n] < np.exp((value - v) / t[n % length]):
            uphill += v > value
            x, value, taken = p, v, taken + 1
        best = min(best, (p, v), key=lambda b: b[1])
    assert found.accepted == taken
    assert uphill > 3


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@each
def test_what_is_not_finite_is_never_taken(name: str, bad: float) -> None:
    def holed(p: Any) -> float:
        return bad if p[0] > 4 or p[1] < -4 else rastrigin(p)

    seen: list[Any] = []
    found = METHODS[name].run(watched(holed, seen), START, 2)
    assert found.non_finite == sum(not math.isfinite(v) for _, v in seen) > 1
    assert math.isfinite(found.value)
    assert found.params[0] <= 4


def test_nothing_finite() -> None:
    found = LocalSearch(50).run(lambda p: math.nan, START, 0)
    assert (found.value, found.non_finite, found.accepted) == (math.inf, 50, 0)
    np.testing.assert_array_equal(found.params, START)


def test_target() -> None:
    method = replace(METHODS["annealing"], target=12.0)
    found = method.run(rastrigin, START, 3)
    assert found.outcome == "target reached"
    assert found.value <= 12
    assert found.evaluations < 700
    assert method.run(rastrigin, START, 3, state=found.state).evaluations == found.evaluations
    assert replace(method, target=99.0).run(rastrigin, START, 3).evaluations == 1


class Pair(NamedTuple):
    left: Any
    right: Any


def test_trees_keep_structure_shape_and_dtype() -> None:
    params = {
        "b": [np.ones((2, 1), np.float32), None],
        "a": Pair(np.array(2.0), (np.zeros((0, 3)), np.full(3, 7, np.float16))),
    }

    def f(p: Any) -> Any:
        assert list(p) == ["b", "a"]
        assert isinstance(p["a"], Pair)
        assert p["b"][1] is None
        assert p["b"][0].dtype == np.float32
        assert p["a"].right[1].dtype == np.float16
        return float(np.sum(p["b"][0])) + abs(float(p["a"].left)) + float(p["a"].right[1].sum())

    found = LocalSearch(200, scale=0.5).run(f, params, 1)
    assert f(found.params) == found.value < 20
    assert found.params["a"].right[0].shape == (0, 3)
    assert params["b"][0].tolist() == [[1.0], [1.0]]
    # leaves are read in the order of sorted keys
    np.testing.assert_array_equal(found.state.start, [2, 7, 7, 7, 1, 1])
    nothing = RandomSearch(3).run(lambda p: 1.0, {}, 0)
    assert (nothing.params, nothing.value) == ({}, 1.0)
