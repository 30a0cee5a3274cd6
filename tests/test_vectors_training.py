"""Vectors of optimizers and initializers, answered by torch's own optimizers and by hand."""

import inspect

import numpy as np
import pytest

from bpx import INITIALIZERS, OPTIMIZERS
from bpx.vectors import check, vectors_of

OF_TORCH = {"sgd": "SGD", "adam": "Adam", "adagrad": "Adagrad", "rmsprop": "RMSprop"}
OPTIMIZER = {spec.name: spec for spec in OPTIMIZERS}
INITIALIZER = {spec.name: spec for spec in INITIALIZERS}


def checked(name, vectors, results):
    cancels = {c["name"]: c["cancels"] for c in vectors.about["cases"]}
    return check(name, vectors.arrays, results, cancels, partial=True)


def expected(vectors):
    return [k.replace("/bounds/", "/", 1) for k in vectors.arrays if "/bounds/" in k]


def torch_results(spec, vectors, make):
    """The parameters of every trial whose options torch has, after every step."""
    torch = pytest.importorskip("torch")
    known, results = set(inspect.signature(make).parameters), {}
    for case, trial in zip(vectors.about["cases"], spec.trials, strict=True):
        if not set(trial) <= known:
            continue
        options = {k: v for k, v in {**spec.options, **trial}.items() if k in known}
        for dtype in ("float64", "float32"):
            at = f"{case['name']}/{dtype}"
            count = sum(k.startswith(f"{at}/inputs/parameters/") for k in vectors.arrays)
            given = [vectors.arrays[f"{at}/inputs/parameters/{i}"] for i in range(count)]
            ps = [torch.nn.Parameter(torch.tensor(a)) for a in given]
            optimizer = make(ps, **options)
            for t in range(1, 5):
                for i, p in enumerate(ps):
                    p.grad = torch.tensor(vectors.arrays[f"{at}/inputs/gradients/{t}/{i}"])
                optimizer.step()
                for i, p in enumerate(ps):
                    results[f"{at}/parameters/{t}/{i}"] = p.detach().numpy().copy()
    return results


@pytest.mark.parametrize("name", OF_TORCH)
def test_torchs_own_optimizers_answer(name):
    torch = pytest.importorskip("torch")
    spec, vectors = OPTIMIZER[name], vectors_of(OPTIMIZER[name])
    results = torch_results(spec, vectors, getattr(torch.optim, OF_TORCH[name]))
    found = checked(name, vectors, results)
    assert not found.wrong
    assert found.compared >= 96
    # and one that steps a thousandth too far is named at every step; in float32 the rounding of a
    # parameter may be as large as that
    moved = {}
    for key in (k for k in results if "/float64/" in k):
        at, t, i = *key.split("/parameters/")[:1], *key.split("/")[-2:]
        before = f"parameters/{int(t) - 1}/{i}" if t != "1" else f"inputs/parameters/{i}"
        moved[key] = results[key] + 0.001 * (results[key] - vectors.arrays[f"{at}/{before}"])
    named = checked(name, vectors, moved).wrong
    assert len(named) > 0.9 * len(moved)  # a scalar whose gradient is 0 stays
    assert all(" is off by " in line for line in named)


@pytest.mark.parametrize("spec", OPTIMIZERS, ids=lambda s: s.name)
def test_a_trajectory_is_the_steps_of_the_specification(spec):
    vectors = vectors_of(spec)
    for record, trial in zip(vectors.about["cases"], spec.trials, strict=True):
        follow(spec, {**spec.options, **trial}, vectors, f"{record['name']}/float32")


def follow(spec, options, vectors, at):
    arrays = {k.removeprefix(f"{at}/"): a for k, a in vectors.arrays.items() if k.startswith(at)}
    count = sum(k.startswith("inputs/parameters/") for k in arrays)
    assert count == (2 if spec.name == "muon" else 4)
    given = [arrays[f"inputs/parameters/{i}"] for i in range(count)]
    assert {a.dtype.name for a in given} == {"float32"}
    ps = [a.astype(float) for a in given]
    states = [spec.init(p, **options) for p in ps]
    for t in range(1, 5):
        gs = [arrays[f"inputs/gradients/{t}/{i}"].astype(float) for i in range(count)]
        if spec.prepare is not None:
            gs = spec.prepare(gs, [options] * count)
        for i, g in enumerate(gs):
            ps[i], states[i] = spec.step(ps[i], g, states[i], t, **options)
            assert np.array_equal(arrays[f"parameters/{t}/{i}"], ps[i])
            assert f"bounds/parameters/{t}/{i}" in arrays
            for k, a in states[i].items():
                assert np.array_equal(arrays[f"states/{t}/{i}/{k}"], a)
    assert any((arrays[f"inputs/gradients/{t}/0"] == 0).any() for t in range(1, 5))


@pytest.mark.parametrize("spec", INITIALIZERS, ids=lambda s: s.name)
def test_a_value_is_the_specification_of_the_noise(spec):
    vectors = vectors_of(spec)
    results = {}
    for record, trial in zip(vectors.about["cases"], spec.trials, strict=True):
        at = f"{record['name']}/float32"
        noise = [vectors.arrays[f"{at}/inputs/noise/{j}"] for j in range(len(record["noise"]))]
        assert {a.dtype.name for a in noise} <= {"float32"}
        feed = iter([a.astype(float) for a in noise])
        options = {**spec.options, **trial}
        want = spec.from_noise(lambda *_, f=feed: next(f), tuple(record["shape"]), **options)
        assert np.array_equal(vectors.arrays[f"{at}/value"], want)
        results[f"{at}/value"] = np.float32(want)
    assert not checked(spec.name, vectors, results).wrong
    moved = {k: a + np.float32(1e-3) * (1 + np.abs(a)) for k, a in results.items()}
    assert len(checked(spec.name, vectors, moved).wrong) == len(moved)


def test_an_infinite_option_is_text():
    trial = vectors_of(INITIALIZER["truncated_normal"]).about["cases"][-1]
    assert trial["options"]["a"] == "-inf"


def test_states_may_be_left_out_and_parameters_not():
    vectors = vectors_of(OPTIMIZER["adam"])
    right = {k: vectors.arrays[k] for k in expected(vectors)}
    without = {k: a for k, a in right.items() if "/states/" not in k}
    assert not checked("adam", vectors, right).wrong
    assert not checked("adam", vectors, without).wrong
    del without["trial 0/float64/parameters/4/3"]
    wrong = ["adam: trial 0/float64/parameters/4/3 is missing"]
    assert checked("adam", vectors, without).wrong == wrong
    right["trial 2/float64/states/2/0/v_max"] = 1.001 * right["trial 2/float64/states/2/0/v_max"]
    assert "states/2/0/v_max is off" in checked("adam", vectors, right).wrong[0]
