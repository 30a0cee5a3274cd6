"""Liger-Kernel beside bpx in `python -m bpx bench --size huge`, played by torch's own functions."""

import importlib.machinery
import importlib.util
import sys
import types

import pytest

torch = pytest.importorskip("torch")

from bpx import _bench_huge
from bpx.__main__ import main
from bpx_torch import _bench_gpu, _bench_liger
from tests import test_bench_gpu as gpu

played = gpu.played


def turned(q, cos, sin):
    a, b = q.chunk(2, -1)
    return q * cos[:, None] + torch.cat((-b, a), -1) * sin[:, None]


@pytest.fixture
def liger(monkeypatch):
    F, d = torch.nn.functional, 8
    ops = types.ModuleType("liger_kernel.ops")
    for name, function in {
        "Softmax": lambda x: F.softmax(x, -1),
        "LayerNorm": lambda x, w, b, eps: F.layer_norm(x, (d,), w, b, eps),
        "SiLUMul": lambda gate, x: F.silu(gate) * x,
        "CrossEntropy": lambda x, target, weight: (F.cross_entropy(x, target), None),
        "FusedLinearCrossEntropy": lambda x, w, t: (F.cross_entropy(F.linear(x, w), t), None),
        "Rope": lambda q, k, cos, sin: (turned(q, cos, sin), turned(k, cos, sin)),
    }.items():
        setattr(ops, f"Liger{name}Function", types.SimpleNamespace(apply=function))
    package = types.ModuleType("liger_kernel")
    package.__spec__ = importlib.machinery.ModuleSpec("liger_kernel", None)
    monkeypatch.setitem(sys.modules, "liger_kernel", package)
    monkeypatch.setitem(sys.modules, "liger_kernel.ops", ops)


@pytest.mark.parametrize("name", gpu.TINY)
def test_liger_where_it_is_installed(name, liger, played, monkeypatch):
    monkeypatch.setattr(_bench_liger, "ROW", 4)
    about, spec = _bench_huge.huge(gpu.SPECS[name]), gpu.SPECS[name]
    if name == "rope":  # an even number of heads
        monkeypatch.setitem(gpu.TINY, name, gpu.TINY[name] | {"N": (2, 4)})
    arrays, dy = _bench_gpu.draw(spec, gpu.TINY[name], about, torch.float64, "cpu", 0)
    wants = _bench_huge.wanted(spec, about)
    wrt = [a.requires_grad_() for a, w in zip(arrays, wants, strict=True) if w and a is not None]
    made = _bench_liger.candidate(name, arrays, dy)
    assert (made is not None) == (name in (*_bench_liger.CALLS, "rope"))
    prepared = gpu.Played("cuda").prepare_huge(name, gpu.TINY[name], "float64")
    assert prepared.failed == {}
    assert ("liger" in prepared.candidates) == (made is not None)
    if made is None:
        return
    assert not {a.data_ptr() for a in made[1]} & {a.data_ptr() for a in wrt}, "it writes over them"
    got = _bench_gpu._both(*made)
    given = {k: v for k, v in gpu.TINY[name].items() if k in spec.options}
    want = torch.autograd.grad(_bench_gpu.RULES[name](*arrays, **given), wrt, dy)
    if name == "rope":  # half of the heads each, features side by side
        assert all(a.transpose(1, 2).is_contiguous() for a in made[1])
        got = (torch.cat(got, 1),)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.reshape(b.shape), b)


def test_without_liger_there_is_no_such_candidate(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert _bench_liger.candidate("softmax", (), None) is None


def test_the_page_has_a_column_where_liger_was_timed(liger, played, tmp_path):
    pytest.importorskip("matplotlib")
    argv = (
        "softmax",
        "silu",
        *gpu.CUDA,
        "--dtype",
        "float32",
        "--json",
        str(tmp_path / "gpu.json"),
    )
    assert main(["bench", *argv, "--page", str(tmp_path)]) == 0
    page = (tmp_path / "gpu.md").read_text()
    assert "| Liger ms | ratio to it |" in page
    assert page.count("| 1.000 | 1.00 |\n") == 1
    assert page.count("|  |  |\n") == 1
