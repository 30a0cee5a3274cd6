"""python -m bpx bench, of the names that bpx_torch.nn and bpx_torch.functional offer."""

import json

import pytest

from bpx.__main__ import main
from bpx.bench_faces import FACES, LIMITS, SIZES

torch = pytest.importorskip("torch")

from bpx_torch import _bench_faces

RANDOM = ("dropout",)  # masks of another generator
QUICK = ("--repeat", "2", "--seconds", "0.01")


@pytest.mark.parametrize("name", FACES)
def test_both_sides_compute_the_same_gradients(name):
    prepared = _bench_faces.prepare(name, "small", "float64", 3)
    assert list(prepared.candidates) == ["own", "bpx"]
    assert prepared.default == "bpx"
    own, found = (c.run() for c in prepared.candidates.values())
    assert len(own) == len(found) > 0
    for a, b in zip(found, own, strict=True):
        assert a.shape == b.shape
        assert a.dtype == torch.float64
        if not any(word in name for word in RANDOM):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_the_sizes():
    assert SIZES == tuple(LIMITS)
    for name, calls in FACES.items():
        assert tuple(calls) == SIZES
        small, large = calls.values()
        assert len(small.inputs) == len(large.inputs), name
        assert small.size() != large.size(), name
    assert FACES["functional.cross_entropy, images"]["small"].size() == "4·10·8·8, 4·8·8"


def test_the_rows_and_their_page(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = tmp_path / "faces.json"
    names = ("functional.glu", "nn.GRUCell", "sin")
    argv = ("bench", *names, "--framework", "torch", "--size", "small", *QUICK)
    assert main([*argv, "--json", str(file), "--page", str(tmp_path)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert {row["entry"] for row in rows} == set(names)
    for row in rows:
        assert row["failed"] == {}
        assert row["limit"] == 1.5
    page = (tmp_path / "faces.md").read_text()
    assert page.startswith("# Benchmark of torch.nn's names\n")
    assert "](faces-torch-small.svg)" in page
    assert "| functional.glu | small: 64·64 |" in page
    assert "functional.glu" not in (tmp_path / "bench.md").read_text()
    assert "nn.GRUCell" in capsys.readouterr().out


def test_of_jax_there_are_none(tmp_path):
    pytest.importorskip("jax")
    file = tmp_path / "faces.json"
    argv = ("bench", "nn.GRUCell", "--framework", "jax", "--size", "small", *QUICK)
    assert main([*argv, "--json", str(file)]) == 0
    assert json.loads(file.read_text())["rows"] == []


def test_inputs_without_a_gradient():
    numbers = torch.Generator().manual_seed(0)
    call = FACES["functional.hinge_embedding_loss"]["small"]
    x, signs = (_bench_faces._drawn(i, torch.float32, numbers) for i in call.inputs)
    assert x.requires_grad
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert not signs.requires_grad
    labels = _bench_faces._drawn(FACES["nn.Embedding"]["small"].inputs[0], torch.float32, numbers)
    assert labels.dtype == torch.int64
    assert 0 <= labels.min() < labels.max() < 100
