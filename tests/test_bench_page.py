"""python -m bpx bench: the gate, the page with its plots, and whole training steps."""

import contextlib
import json

import pytest

from bpx import _bench_models
from bpx.__main__ import main
from bpx._bench_gate import default_ratio, exceeding, geometric_mean
from bpx._bench_jobs import MODELS, scaling

QUICK = ("--repeat", "2", "--seconds", "0.01")


def row(ratio, limit, entry="sin"):
    candidates = [
        {"name": "own", "default": False, "ratio": {"median": 1.0}},
        {"name": "cpu", "default": True, "ratio": None if ratio is None else {"median": ratio}},
    ]
    about = {"framework": "torch", "entry": entry, "label": "large", "limit": limit}
    return {**about, "candidates": candidates}


def test_the_gate_names_what_is_above_its_limit():
    report = [row(1.06, 1.05), row(1.05, 1.05), row(None, 1.05), row(9.0, None), row(0.5, 0.4, "x")]
    assert list(exceeding(report)) == [
        "torch sin, large: ratio 1.06, limit 1.05",
        "torch x, large: ratio 0.50, limit 0.4",
    ]
    assert default_ratio(row(None, 1.0)) is None
    assert geometric_mean([0.5, 2.0, 8.0]) == pytest.approx(2.0)


def test_the_gate_decides_the_exit_code(monkeypatch, capsys):
    pytest.importorskip("torch")
    argv = ("bench", "sin", "--framework", "torch", "--size", "small", *QUICK, "--gate")
    for found, code in ((["torch sin, small: ratio 2.00, limit 1.5"], 1), ([], 0)):
        monkeypatch.setattr("bpx.bench.exceeding", lambda rows, found=found: found)
        assert main([*argv]) == code
        assert all(sentence in capsys.readouterr().out for sentence in found)


def test_the_page_names_the_machine_and_draws_what_was_timed(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    file = tmp_path / "bench.json"
    argv = ("sin", "swiglu", "--framework", "torch", "--size", "small", "--scaling")
    assert main(["bench", *argv, *QUICK, "--json", str(file), "--page", str(tmp_path)]) == 0
    report, page = json.loads(file.read_text()), (tmp_path / "bench.md").read_text()
    assert report["machine"] in page
    assert report["date"][:10] in page
    grown = [r for r in report["rows"] if r["label"] == "N grows"]
    assert [r["dims"]["N"] for r in grown] == list(
        next(scaling("swiglu"))[1][i]["N"] for i in range(4)
    )
    for plot in ("bench-torch-small.svg", "bench-torch-swiglu-N.svg"):
        assert f"]({plot})" in page
        assert "<svg" in (tmp_path / plot).read_text()
    timed = [c for r in report["rows"] for c in r["candidates"]]
    assert page.count(" us |") == len(timed)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_training_step_is_timed_beside_the_frameworks_own(framework, tmp_path):
    package = pytest.importorskip(framework)
    pytest.importorskip("sklearn")
    file = tmp_path / "bench.json"
    argv = ("bench", "train_mlp", "--framework", framework, "--size", "typical", *QUICK)
    optax_promotes = contextlib.nullcontext()
    if framework == "jax":
        optax_promotes = package.numpy_dtype_promotion("standard")
    with optax_promotes:
        assert main([*argv, "--json", str(file)]) == 0
    (found,) = json.loads(file.read_text())["rows"]
    assert found["failed"] == {}
    assert [c["name"] for c in found["candidates"]] == ["own", "bpx"]
    assert all(c["peak"] > 0 for c in found["candidates"])


def test_every_demo_has_its_training_step():
    pytest.importorskip("sklearn")
    from bpx.demo.settings import MODELS as DEMOS

    assert [m.removeprefix("train_") for m in MODELS] == [*DEMOS, "llama"]
    network, weights, _, arrays = _bench_models.demo("train_mlp", "float32", 0)
    assert set(weights) == {name for part in network.parts for name in part.own}
    assert len({len(a) for a in arrays}) == 1


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_what_health_adds_is_timed(framework, tmp_path):
    pytest.importorskip(framework)
    file = tmp_path / "bench.json"
    argv = ("bench", "health", "--framework", framework, "--size", "small", *QUICK)
    assert main([*argv, "--json", str(file)]) == 0
    (found,) = json.loads(file.read_text())["rows"]
    assert found["failed"] == {}
    assert found["size"] == "hidden 4 x width 64 x batch 64"
    assert [c["name"] for c in found["candidates"]] == ["own", "bpx"]


def test_what_is_watched_is_sampled_in_every_tenth_step():
    pytest.importorskip("torch")
    from bpx_torch import _bench_health, health

    made = []

    class Watched(health.watch):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "watch", Watched)
        prepared = _bench_health.prepare({"hidden": 1, "width": 3, "batch": 2}, "float64", 0)
    (watched,) = made
    for steps in ([0], [0, 10], [0, 10, 20]):  # each ten steps hold one whole sampled step
        assert [s.step for s in watched.history.samples] == steps
        assert not health._SAMPLING
        prepared.candidates["bpx"].run()
    assert next(p.shape for p in watched.report().samples[-1].parameters) == (3, 3)
