"""python -m bpx bench --framework jax --size huge: its candidates, its section of the page, on a
device that the CPU plays."""

import json
from dataclasses import replace

import numpy as np
import pytest

import bpx
from bpx import _bench_huge
from bpx.__main__ import main
from bpx._bench_gpu_page import share, total_peak

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx_jax import _bench_gpu
from bpx_jax import bench as jax_bench

SPECS = {spec.name: spec for spec in bpx.ALL}
TINY = {
    "layer_norm": {"N": 6, "D": 8},
    "cross_entropy": {"N": 6, "V": 9},
    "rope": {"N": (2, 3), "T": 4, "D": 8, "P": 4},
    "dropout": {"N": 16, "B": 2},
    "attention": {"B": 1, "H": 2, "K": 1, "T": 4, "S": 4, "D": 3, "E": 3, "causal": True},
}
CUDA = ("--framework", "jax", "--device", "cuda", "--size", "huge")
OLD = """# Benchmark on a GPU

## PyTorch

What torch's run said.

### bfloat16

| softmax |

## JAX

What JAX's last run said.
"""


class Played(jax_bench.Bench):
    """The CPU under the name of a GPU."""

    def __init__(self, device, threads=None):
        super().__init__("cpu", threads)

    def about(self):
        return {**super().about(), "device": "A GPU"}


@pytest.fixture
def played(monkeypatch):
    """Small rows; a call takes 1 ms, a copy moves 1 MB/s."""

    def clock(run, calls):
        jax.block_until_ready([run() for _ in range(calls)])
        return 1e-3

    rows = {name: replace(_bench_huge.huge(SPECS[name]), rows=(row,)) for name, row in TINY.items()}
    monkeypatch.setattr(_bench_huge, "HUGE", rows)
    monkeypatch.setattr(_bench_gpu, "clock", clock)
    monkeypatch.setattr(_bench_gpu, "copy_speed", lambda device: 1e6)
    monkeypatch.setattr(jax_bench, "Bench", Played)


@pytest.mark.parametrize("name", TINY)
def test_both_candidates_run_on_inputs_of_the_device(name, played):
    prepared = Played("cuda").prepare_huge(name, TINY[name], "float32")
    assert prepared.failed == {}
    assert [c.calls for c in prepared.candidates.values()] == [20, 20]
    assert prepared.repeat == 7
    (y, grads), (own_y, own_grads) = (c.run() for c in prepared.candidates.values())
    about, spec = _bench_huge.huge(SPECS[name]), SPECS[name]
    asked = zip(
        _bench_huge.wanted(spec, about), _bench_huge.given(spec, TINY[name], about), strict=True
    )
    assert len(grads) == len(own_grads) == sum(w and g for w, g in asked)
    if name != "dropout":  # which draws its mask
        for a, b in zip((y, *grads), (own_y, *own_grads), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(np.abs(b).max()))
    assert (prepared.facts["bytes"] is None) == (name == "attention")
    assert all(c.peak > 0 for c in prepared.candidates.values())


def test_inputs_lie_below_their_dim_and_in_their_domain():
    spec = SPECS["cross_entropy"]
    arrays, dy = _bench_gpu.draw(
        spec, {"N": 50, "V": 3}, _bench_huge.huge(spec), jnp.bfloat16, seed=0
    )
    assert set(np.asarray(arrays[1]).tolist()) == {0, 1, 2}
    assert arrays[2] is None
    assert (arrays[0].dtype, dy.shape) == (jnp.bfloat16, ())
    for domain in ((0.0, 1.0), (2.0, float("inf")), (float("-inf"), -3.0)):
        arg = replace(SPECS["sin"].args[0], domain=domain)
        x = _bench_gpu._array(arg, {"N": (1000,)}, jnp.float64, jax.random.key(0), 1)
        assert domain[0] <= x.min() < x.max() <= domain[1]
    kinds = {"mask": {False, True}, "bits": set(range(256))}
    for kind, values in kinds.items():
        arg = replace(SPECS["sin"].args[0], kind=kind)
        drawn = _bench_gpu._array(arg, {"N": (9999,)}, jnp.float32, jax.random.key(0), 1)
        assert set(np.asarray(drawn).tolist()) == values


def test_calls_are_queued_and_the_last_is_waited_for(monkeypatch):
    waited, times = [], iter([1.0, 7.0])
    monkeypatch.setattr(jax, "block_until_ready", waited.append)
    monkeypatch.setattr(_bench_gpu.time, "perf_counter", lambda: next(times))
    results = iter("abc")
    assert _bench_gpu.clock(lambda: next(results), 3) == 2.0
    assert waited == ["c"]
    assert [_bench_gpu.calls_of(s) for s in (0.0, 1e-4, 2e-3, 0.1)] == [20, 20, 15, 1]


def test_slow_calls_get_few_rounds(played, monkeypatch):
    monkeypatch.setattr(_bench_gpu, "clock", lambda run, calls: 0.5)
    slow = Played("cuda").prepare_huge("rope", TINY["rope"], "float32")
    assert (slow.repeat, [c.calls for c in slow.candidates.values()]) == (3, [1, 1])


def test_a_copy_is_read_and_written(monkeypatch):
    monkeypatch.setattr(_bench_gpu, "COPIED", 64)
    monkeypatch.setattr(_bench_gpu, "clock", lambda run, calls: (run(), 1e-6)[1])
    device = jax.devices("cpu")[0]
    assert _bench_gpu.copy_speed.__wrapped__(device) == pytest.approx(2 * 64 / 1e-6)


def test_the_command_writes_its_section_and_keeps_the_others(played, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "gpu.md").write_text(OLD)
    file = tmp_path / "gpu.json"
    argv = ("layer_norm", "attention", *CUDA, "--json", str(file), "--page", str(tmp_path))
    assert main(["bench", *argv]) == 0
    rows = {row["entry"]: row for row in json.loads(file.read_text())["rows"]}
    own, ours = rows["layer_norm"]["candidates"]
    assert (own["seconds"], ours["ratio"]["median"], ours["default"]) == (1e-3, 1, True)
    assert share(rows["layer_norm"], ours) == pytest.approx(rows["layer_norm"]["bytes"] / 1e3)
    assert total_peak(rows["layer_norm"], ours) == ours["peak"] + rows["layer_norm"]["arguments"]
    page = (tmp_path / "gpu.md").read_text()
    before, section = page.split("## JAX\n")
    assert before == OLD.split("## JAX\n")[0]
    assert "last run" not in section
    for text in ("A GPU", f"jax {jax.__version__}", "### float32", "| 1.000 | 1.000 | 1.00 (1.00"):
        assert text in section
    assert "](gpu-jax-float32.svg)" in section
    assert (tmp_path / "gpu-jax-float32.svg").exists()
    assert "of a copy" in capsys.readouterr().out


def test_an_entry_without_huge_rows_is_refused():
    assert {*TINY, "silu", "linear_cross_entropy"} <= set(jax_bench.GPU_NAMES)
    with pytest.raises(TypeError, match="conv has no sizes that fill a GPU"):
        Played("cuda").prepare_huge("conv", {}, "float32")
