"""python -m bpx bench --size huge: its candidates, the page and what it refuses, on a device that
the CPU plays."""

import json
from dataclasses import replace

import pytest

import bpx
from bpx import _bench_huge, _timing
from bpx.__main__ import main
from bpx._bench_gpu_page import share, total_peak

torch = pytest.importorskip("torch")

from bpx_torch import _bench_gpu
from bpx_torch import bench as torch_bench

SPECS = {spec.name: spec for spec in bpx.ALL}
TINY = {
    "softmax": {"N": (6, 8)},
    "layer_norm": {"N": 6, "D": 8},
    "cross_entropy": {"N": 6, "V": 9},
    "rope": {"N": (2, 3), "T": 4, "D": 8, "P": 4},
    "dropout": {"N": 16, "B": 2},
    "linear_cross_entropy": {"N": 6, "D": 4, "V": 9},
    "attention": {"B": 2, "H": 4, "K": 2, "T": 5, "S": 6, "D": 3, "E": 4, "causal": True},
    "silu": {"N": 16},
    "swiglu": {"N": 16},
}
PRODUCTS = ("linear_cross_entropy", "attention")
CUDA = ("--framework", "torch", "--device", "cuda", "--size", "huge")


class Played(torch_bench.Bench):
    """The CPU under the name of a GPU."""

    def __init__(self, device, threads=None):
        super().__init__("cpu", threads)

    def about(self):
        return {**super().about(), "device": "A GPU", "cuda": "13.0", "triton": "3.6"}


@pytest.fixture
def played(monkeypatch):
    """Small rows; a call takes 1 ms and uses 100 bytes, a copy moves 1 MB/s."""
    clocked = []

    def clock(run, calls):
        for _ in range(calls):
            run()
        clocked.append(calls)
        return 1e-3

    rows = {name: replace(_bench_huge.huge(SPECS[name]), rows=(row,)) for name, row in TINY.items()}
    monkeypatch.setattr(_bench_huge, "HUGE", rows)
    monkeypatch.setattr(_bench_gpu, "clock", clock)
    monkeypatch.setattr(_bench_gpu, "peak", lambda run: (100, clock(run, 1)))
    monkeypatch.setattr(_bench_gpu, "release", lambda: None)
    monkeypatch.setattr(_bench_gpu, "copy_speed", lambda device: 1e6)
    monkeypatch.setattr(torch_bench, "Bench", Played)
    return clocked


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", TINY)
def test_both_candidates_run_on_inputs_of_the_device(name, dtype, played):
    prepared = Played("cuda").prepare_huge(name, TINY[name], dtype)
    assert prepared.failed == {}
    assert len(prepared.candidates) == 2
    results = [c.run() for c in prepared.candidates.values()]
    about, spec = _bench_huge.huge(SPECS[name]), SPECS[name]
    asked = sum(
        w and g
        for w, g in zip(
            _bench_huge.wanted(spec, about),
            _bench_huge.given(spec, TINY[name], about),
            strict=True,
        )
    )
    assert [len(r) for r in results] == [asked, asked]
    if name != "dropout":  # which draws its mask
        size = 4 * 2.0**-8 if dtype == "bfloat16" else 1e-5
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=size, atol=size * float(b.abs().max()))
    assert (prepared.facts["bytes"] is None) == (name in PRODUCTS)


def test_inputs_lie_below_their_dim_and_in_their_domain():
    spec = SPECS["cross_entropy"]
    arrays, dy = _bench_gpu.draw(
        spec, {"N": 50, "V": 3}, _bench_huge.huge(spec), torch.float32, "cpu", 0
    )
    assert set(arrays[1].tolist()) == {0, 1, 2}
    assert arrays[2] is None
    assert dy.shape == ()
    sizes = {"N": (1000,)}
    numbers = torch.Generator("cpu").manual_seed(0)
    for domain in ((0.0, 1.0), (2.0, float("inf")), (float("-inf"), -3.0)):
        arg = replace(SPECS["sin"].args[0], domain=domain)
        x = _bench_gpu._array(arg, sizes, torch.float64, numbers, 1)
        assert domain[0] <= x.min() < x.max() <= domain[1]


def test_slow_calls_get_few_rounds(played, monkeypatch):
    row = TINY["silu"]
    fast = Played("cuda").prepare_huge("silu", row, "float32")
    assert (fast.repeat, [c.calls for c in fast.candidates.values()]) == (7, [2, 2])
    monkeypatch.setattr(_bench_gpu, "peak", lambda run: (100, 0.5))
    slow = Played("cuda").prepare_huge("silu", row, "float32")
    assert (slow.repeat, [c.calls for c in slow.candidates.values()]) == (3, [1, 1])


def test_a_candidates_own_clock_is_asked_for_its_block():
    asked = []

    def clock(run, calls):
        asked.append(calls)
        return 2.0

    candidates = {"own": _timing.Candidate(lambda: None, clock=clock, calls=2)}
    assert _timing.rounds(candidates, 3, 60) == {"own": [2.0, 2.0, 2.0]}
    assert asked == [2, 2, 2]


def test_the_clock_and_the_peak_of_a_device(monkeypatch):
    order, awake = [], [True, True, False]

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            order.append("event")

        def query(self):
            return awake.pop(0) if awake else False

        def elapsed_time(self, end):
            return 6.0  # ms

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: order.append(cycles))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: order.append("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 30)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 130)
    first, rest = _bench_gpu.SLEEP, ["event", "call", "call", "event", "wait"]
    assert _bench_gpu.clock(lambda: order.append("call"), 2) == 3e-3
    # it woke before the calls were queued, and is put to sleep for longer
    assert order == [first, *rest, 4 * first, *rest, 16 * first, *rest]
    awake[:] = [True] * 9
    order.clear()
    _bench_gpu.clock(lambda: order.append("call"), 2)
    assert order[::6] == [first, 4 * first, 16 * first]  # and not for ever
    awake.clear()
    order.clear()
    assert _bench_gpu.peak(lambda: order.append("call")) == (100, 6e-3)
    assert order == ["reset", first, "event", "call", "event", "wait"]
    monkeypatch.setattr(_bench_gpu, "COPIED", 60)
    copy_speed = _bench_gpu.copy_speed.__wrapped__
    assert copy_speed("cpu") == pytest.approx(2 * 60 / 3e-3)  # two copies in 6 ms


def test_one_command_writes_both_dtypes_and_the_page(played, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = tmp_path / "gpu.json"
    argv = (*TINY, *CUDA, "--dtype", "bfloat16", "--dtype", "float32", "--json", str(file))
    assert main(["bench", *argv, "--page", str(tmp_path)]) == 0
    report = json.loads(file.read_text())
    assert report["dtype"] == "bfloat16, float32"
    assert [row["dtype"] for row in report["rows"]] == ["bfloat16"] * len(TINY) + ["float32"] * len(
        TINY
    )
    for row in report["rows"]:
        assert row["failed"] == {}
        own, ours = row["candidates"]
        assert (own["seconds"], ours["ratio"]["median"], ours["default"]) == (1e-3, 1, True)
        assert total_peak(row, ours) == 100 + row["arguments"]
        if row["entry"] not in PRODUCTS:
            assert share(row, ours) == pytest.approx(row["bytes"] / 1e3)
    page = (tmp_path / "gpu.md").read_text()
    for text in ("A GPU", "triton 3.6", "cuda 13.0", report["machine"], report["date"][:10]):
        assert text in page
    assert page.count("| 1.000 | 1.000 | 1.00 (1.00-1.00) |") == 2 * len(TINY)
    for dtype in ("bfloat16", "float32"):
        assert f"](gpu-{dtype}.svg)" in page
        assert "<svg" in (tmp_path / f"gpu-{dtype}.svg").read_text()
    assert not (tmp_path / "bench.md").exists()
    assert "of a copy" in capsys.readouterr().out


def test_what_raises_is_reported_beside_the_rest(played, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")

    def broken(*arrays, **options):
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setitem(_bench_gpu.OWN, "silu", broken)
    monkeypatch.setitem(_bench_gpu.OURS, "softmax", broken)
    file = tmp_path / "gpu.json"
    argv = ("silu", "softmax", "rope", *CUDA, "--json", str(file), "--page", str(tmp_path))
    assert main(["bench", *argv]) == 1
    found = {row["entry"]: row for row in json.loads(file.read_text())["rows"]}
    assert found["silu"]["failed"] == {"own": "RuntimeError: out of memory"}
    assert [c["ratio"] for c in found["silu"]["candidates"]] == [None]
    assert list(found["softmax"]["failed"].values()) == ["RuntimeError: out of memory"]
    assert len(found["rope"]["candidates"]) == 2
    page = (tmp_path / "gpu.md").read_text()
    assert "silu, N 16: own not timed: RuntimeError: out of memory" in page


def test_what_was_timed_before_an_interrupt_is_written(played, monkeypatch, tmp_path):
    def interrupted(*arrays, **options):
        raise KeyboardInterrupt

    monkeypatch.setitem(_bench_gpu.OWN, "softmax", interrupted)
    file = tmp_path / "gpu.json"
    argv = ("silu", "softmax", *CUDA, "--dtype", "bfloat16", "float32", "--json", str(file))
    assert main(["bench", *argv]) == 130
    assert [row["entry"] for row in json.loads(file.read_text())["rows"]] == ["silu"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--size", "huge"), "--size huge is for a GPU: it takes --device cuda and one"),
        (("--size", "huge", "--framework", "torch"), "--size huge is for a GPU"),
        (("--size", "huge", "--framework", "jax"), "--size huge is for a GPU"),
        (("--size", "huge", "--device", "cuda"), "--size huge is for a GPU"),
        (
            ("--page", ".", "--dtype", "float32", "float64"),
            "--page takes one --dtype, or --size huge alone; got ['float32', 'float64']",
        ),
    ],
)
def test_bad_input(argv, message, capsys):
    assert main(["bench", "silu", *argv]) == 2
    assert message in capsys.readouterr().err


def test_an_entry_without_huge_rows_is_refused():
    with pytest.raises(TypeError, match="conv has no sizes that fill a GPU"):
        Played("cuda").prepare_huge("conv", {}, "float32")
