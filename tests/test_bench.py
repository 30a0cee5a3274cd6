"""python -m bpx bench: it runs, writes what it says, and refuses what it cannot do."""

import importlib
import json
import time
from dataclasses import replace

import numpy as np
import pytest

import bpx
from bpx import _bench_jobs, _inputs, _timing
from bpx.__main__ import main
from bpx._bench_jobs import measure
from bpx.bench_rows import SIZES

FRAMEWORKS = ("torch", "jax")
TINY = ("--repeat", "2", "--seconds", "0.01", "--size", "small")
SPECS = {spec.name: spec for spec in bpx.ALL}


@pytest.mark.parametrize("spec", bpx.ALL, ids=lambda spec: spec.name)
def test_the_bench_rows_cover_the_dims_of_every_entry(spec):
    assert spec.bench, "no bench rows"
    assert tuple(spec.bench) == SIZES
    for row in spec.bench.values():
        bound = _inputs.sizes(spec, row)
        assert set(bound) == set(row) - set(spec.options)
    assert set(spec.limits) <= set(SIZES)


@pytest.mark.parametrize("spec", bpx.ALL, ids=lambda spec: spec.name)
def test_the_inputs_of_every_entry_fit_it(spec):
    row = spec.bench["small"]
    arrays, dy = _inputs.draw(spec, row)
    options = _inputs.options(spec, row)
    spec.bind(tuple(None if a is None else a.shape for a in arrays.values()), options)
    assert np.shape(spec.forward(*arrays.values(), **options)[0]) == dy.shape


@pytest.mark.parametrize(
    "row",
    [{"N": 3}, {"N": 3, "D": 0}, {"N": 3, "D": 2, "K": 5}],
    ids=["missing", "zero", "unknown"],
)
def test_a_row_that_does_not_cover_the_dims_is_refused(row):
    with pytest.raises(TypeError, match=r"layer_norm: bench row .* for each of \['N', 'D'\]"):
        _inputs.sizes(SPECS["layer_norm"], row)


@pytest.mark.parametrize(
    ("domain", "low", "high"),
    [((0.0, 1.0), 0.0, 1.0), ((2.0, float("inf")), 2.0, np.inf), ((-np.inf, -3.0), -np.inf, -3.0)],
)
def test_inputs_lie_in_their_domain(domain, low, high):
    spec = SPECS["sin"]
    spec = replace(spec, args=(replace(spec.args[0], domain=domain),))
    x = _inputs.draw(spec, {"N": 1000})[0]["x"]
    assert low <= x.min() < x.max() <= high


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_one_entry_and_one_optimizer(framework, tmp_path, capsys):
    pytest.importorskip(framework)
    file = tmp_path / "bench.json"
    names = ("layer_norm", "sgd")
    assert main(["bench", *names, "--framework", framework, *TINY, "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert set(report) == {
        *("bpx", "python", "machine", "date", "dtype", "device", "threads", "repeat", "seconds"),
        *("seed", "processes", "frameworks", "rows"),
    }
    assert set(report["frameworks"]) == {framework}
    assert framework in report["frameworks"][framework]
    assert [row["entry"] for row in report["rows"]] == list(names)
    assert report["rows"][0]["dims"] == dict(SPECS["layer_norm"].bench["small"])
    for row in report["rows"]:
        assert row["failed"] == {}
        assert sum(c["default"] for c in row["candidates"]) == 1
        for c in row["candidates"]:
            assert c["seconds"] > 0
            assert 1 <= c["rounds"] == len(c["times"]) <= 2
            assert row["entry"] == "sgd" or c["peak"] > 0
    labels = [c["name"] for c in report["rows"][0]["candidates"]]
    assert labels[0] == "own"
    assert labels[-1] == "plain"
    assert report["rows"][0]["candidates"][0]["ratio"] == {"median": 1, "low": 1, "high": 1}
    assert "layer_norm" in capsys.readouterr().out


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_saved_bytes(framework):
    pytest.importorskip(framework)
    bench = importlib.import_module(f"bpx_{framework}.bench").Bench()
    sin = bench.prepare("sin", {"N": 1000}, "float32").candidates
    assert sin["plain"].saved == _timing.Saved(0, 4000)
    exp = bench.prepare("exp", {"N": 1000}, "float32").candidates
    assert exp["plain"].saved == exp["own"].saved == _timing.Saved(4000, 0)
    norm = bench.prepare("layer_norm", {"N": 6, "D": 50}, "float32").candidates
    assert norm["plain"].saved == _timing.Saved(2 * 6 * 4, (6 * 50 + 50) * 4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_both_sides_compute_the_same_gradients(framework):
    pytest.importorskip(framework)
    bench = importlib.import_module(f"bpx_{framework}.bench").Bench()
    prepared = bench.prepare("layer_norm", {"N": 6, "D": 50}, "float32")
    results = {}
    for label, candidate in prepared.candidates.items():
        found = candidate.run()
        grads = found[1] if framework == "jax" else found  # JAX: (y, gradients)
        results[label] = [np.asarray(g) for g in grads]
        assert len(results[label]) == 3
    for grads in results.values():
        for got, want in zip(grads, results["own"], strict=True):
            np.testing.assert_allclose(got, want, atol=64 * 2.0**-24 * np.abs(want).max(), rtol=0)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_computes_again_is_timed_beside_what_does(framework):
    pytest.importorskip(framework)
    bench = importlib.import_module(f"bpx_{framework}.bench").Bench()
    candidates = bench.prepare("reversible", {"N": 6, "W": 10, "D": 5}, "float32").candidates
    beside = {label: candidate.beside for label, candidate in candidates.items()}
    again = "own, recomputed"
    assert beside == {"own": "own", again: again, "plain": again}
    assert candidates[again].saved.made < candidates["own"].saved.made
    results = {k: c.run()[1] if framework == "jax" else c.run() for k, c in candidates.items()}
    for got in results.values():
        for a, b in zip(got, map(np.asarray, results["own"]), strict=True):
            np.testing.assert_allclose(
                np.asarray(a), b, atol=64 * 2.0**-24 * np.abs(b).max(), rtol=0
            )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_optimizer_is_timed_beside_its_counterpart(framework):
    """Every candidate steps; where the framework has the optimizer, it is one of them."""
    package = pytest.importorskip("torch" if framework == "torch" else "optax")
    module = importlib.import_module(f"bpx_{framework}.bench")
    bench = module.Bench()
    for name in module.OPTIMIZER_NAMES:
        prepared = bench.prepare_optimizer(name, [(3, 2), (4, 5)], "float32")
        classes = module.OPTIMIZERS[name].__name__
        homes = (package.optim,) if framework == "torch" else (package, package.contrib)
        labels = set(prepared.candidates)
        assert "own" in labels or not any(hasattr(home, classes) for home in homes), name
        if framework == "torch":
            assert name == "muon" or {"bpx, foreach", "own, foreach"} & labels
            for label, candidate in prepared.candidates.items():
                candidate.run()
                lists = label.endswith(", foreach")
                assert candidate.beside == ("own, foreach" if lists else "own"), label


def test_rounds_are_interleaved_and_end_in_time():
    order = []
    candidates = {
        name: _timing.Candidate(lambda name=name: (order.append(name), time.sleep(3e-3)))
        for name in "AB"
    }
    times = _timing.rounds(candidates, repeat=3, seconds=60)
    assert [len(t) for t in times.values()] == [3, 3]
    assert "".join(order)[-6:] == "ABBAAB"
    assert all(len(t) == 1 for t in _timing.rounds(candidates, repeat=50, seconds=0).values())


def test_spread():
    assert _timing.spread([3.0]) == _timing.Spread(3, 3, 3)
    assert _timing.spread([5.0, 1.0, 2.0, 4.0, 3.0]) == _timing.Spread(3, 2, 4)


def test_the_ratio_is_to_the_candidate_named(monkeypatch):
    times = {"own": [1.0, 1.0], "own, foreach": [8.0, 4.0], "bpx, foreach": [2.0, 2.0]}
    monkeypatch.setattr(_bench_jobs, "rounds", lambda *_: times)
    nothing = _timing.Candidate(lambda: None)
    candidates = dict.fromkeys(times, nothing)
    candidates["bpx, foreach"] = replace(nothing, beside="own, foreach")
    prepared = _timing.Prepared(candidates, "own")
    row = measure({"entry": "x"}, lambda: prepared, 2, 9)
    ratios = [c["ratio"]["median"] for c in row["candidates"]]
    assert ratios == [1, 6, 0.375]


def test_a_candidate_that_raises_is_reported():
    def prepare():
        raise RuntimeError("no such kernel\nand more")

    row = measure({"entry": "sin"}, prepare, 1, 1.0)
    assert row["failed"] == {"comparison": "RuntimeError: no such kernel"}
    assert row["candidates"] == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("layer_nrom",), "there is no 'layer_nrom'; did you mean layer_norm"),
        (("--repeat", "0"), "--repeat is 0, expected a number above 0"),
        (("--seconds", "nan"), "--seconds is nan, expected a number above 0"),
        (("--threads", "-1"), "--threads is -1, expected a number above 0"),
        (("--processes", "0"), "--processes is 0, expected a number above 0"),
        (("--page", "/no/such/folder"), "--page /no/such/folder: there is no such folder"),
        (
            ("--json", "/no/such/folder/x.json"),
            "--json /no/such/folder/x.json: there is no such folder",
        ),
    ],
)
def test_bad_input(argv, message, capsys):
    assert main(["bench", *argv]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_device_that_is_not_there(framework, capsys):
    pytest.importorskip(framework)
    assert main(["bench", "sin", "--framework", framework, "--device", "nowhere"]) == 2
    assert f"{framework} has no device 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize("absent", [("torch",), ("torch", "jax")], ids=["one", "both"])
def test_missing_frameworks(absent, monkeypatch, capsys):
    if absent == ("torch",):
        pytest.importorskip("jax")
    real = importlib.import_module

    def without(name, *args):
        for framework in absent:
            if name == f"bpx_{framework}.bench":
                raise ModuleNotFoundError(f"No module named {framework!r}", name=framework)
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", without)
    assert main(["bench", "sin", *TINY]) == (2 if len(absent) == 2 else 0)
    assert "torch is not installed: pip install 'bpx[torch]'" in capsys.readouterr().err
