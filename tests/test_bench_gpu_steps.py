"""python -m bpx bench adamw --size huge, on a device that the CPU plays."""

import json

import pytest

from bpx import _bench_huge
from bpx.__main__ import main
from bpx._bench_gpu_page import share, total_peak

torch = pytest.importorskip("torch")

from bpx_torch import _bench_gpu
from bpx_torch import bench as torch_bench
from tests.test_bench_gpu import CUDA, Played


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_steps_beside_torchs(name, monkeypatch, tmp_path):
    def clock(run, calls):
        run()
        return 1e-3

    monkeypatch.setattr(_bench_huge, "ELEMENTS", 1003)
    monkeypatch.setattr(_bench_gpu, "clock", clock)
    monkeypatch.setattr(_bench_gpu, "peak", lambda run: (100, clock(run, 1)))
    monkeypatch.setattr(_bench_gpu, "release", lambda: None)
    monkeypatch.setattr(_bench_gpu, "copy_speed", lambda device: 1e6)
    monkeypatch.setattr(torch_bench, "Bench", Played)
    file = tmp_path / "gpu.json"
    assert main(["bench", name, *CUDA, "--dtype", "bfloat16", "float32", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    moved = {"adamw": (22, 28), "sgd": (6, 12)}[name]  # p, g, p; m and v in float32 there and back
    for row, each, item in zip(rows, moved, (2, 4), strict=True):
        assert (row["failed"], row["dims"], row["bytes"]) == ({}, {"N": 1003}, 1003 * each)
        own, ours = row["candidates"]
        assert (own["name"], ours["name"], ours["default"]) == ("own", "triton", True)
        assert share(row, ours) == pytest.approx(row["bytes"] / 1e3)
        assert total_peak(row, ours) == 100 + 2 * item * 1003
