"""What is kept for backward: shapes alone, where nobody looks at more; masks of a byte; never more
than autodiff."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

import bpx
from bpx import _measured
from bpx.verify import memory
from bpx.verify.legs import generic
from bpx.verify.reference import cotangent

ENTRIES = [s for s in bpx.ALL if s.shapes]


def test_there_are_some():
    names = {"embedding", "avg_pool", "adaptive_avg_pool", "upsample_linear", "upsample_nearest"}
    assert {s.name for s in ENTRIES} >= names


@pytest.mark.parametrize("spec", [s for s in ENTRIES if not s.residuals], ids=lambda s: s.name)
def test_the_spec_reads_the_shape_alone(spec):
    case = generic(spec)
    dy = cotangent(spec, case)
    want = spec.backward(dy, *case.arrays.values(), **case.options)
    poisoned = [
        np.full_like(a, np.nan) if name in spec.shapes else a for name, a in case.arrays.items()
    ]
    for w, g in zip(want, spec.backward(dy, *poisoned, **case.options), strict=True):
        assert w is None if g is None else np.array_equal(g, w)


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("spec", ENTRIES, ids=lambda s: s.name)
def test_the_array_is_let_go(spec, framework):
    """What stays for backward is smaller than the argument of which the shape is kept."""
    pytest.importorskip(framework)
    runner = importlib.import_module(f"bpx_{framework}.verify").RUNNER()
    case, rule = generic(spec), runner.rules[spec.name]
    named = spec.shapes[0]
    with runner.using("plain"):
        kept, _ = runner.saved_bytes(rule, rule, case, "float32")
    others = sum(
        np.asarray(a).nbytes
        for name, a in case.arrays.items()
        if name in spec.saves and name != named
    )
    _, residuals = spec.forward(*case.arrays.values(), **case.options)
    others += sum(4 * np.size(r) for r in residuals)
    assert kept <= others, f"{kept} bytes kept, {others} without {named}"


def test_few_lengths_are_kept_in_a_byte_each():
    """What is no length stays none: only where values cannot be seen does backward meet it."""
    torch = pytest.importorskip("torch")
    from bpx_torch.layers._recurrent import few_steps, running

    lengths = torch.tensor([0, 3, 4, -1, 5, 260, -256])
    kept = few_steps(lengths, torch.zeros(4, 7, 2))
    assert kept.tolist() == [0, 3, 4, -1, 5, 5, -1]
    assert kept.element_size() == 1
    assert torch.equal(running(kept, 4), running(lengths, 4))
    assert few_steps(lengths, torch.zeros(8, 7, 2)) is lengths
    assert few_steps(lengths.int(), torch.zeros(4, 7, 2)).dtype == torch.int32


CONSTANT = [s for s in bpx.ALL if s.constant]


def test_constant_and_differentiable_are_residuals():
    spec = next(s for s in bpx.ALL if s.name == "mse")
    for field in ({"constant": {"sign": "int8"}}, {"differentiable": ("error", "sign")}):
        with pytest.raises(TypeError, match=r"\['sign'\] are not among its residuals"):
            replace(spec, **field)


def test_other_residuals_need_the_arguments_kept():
    spec = next(s for s in bpx.ALL if s.name == "mse")
    with pytest.raises(TypeError, match="need every required argument in saves"):
        replace(spec, differentiable=())
    assert replace(spec, differentiable=(), saves=("x", "target")).recomputed() == ["error"]


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("spec", CONSTANT, ids=lambda s: s.name)
def test_constant_residuals_have_their_dtype(spec, framework):
    pytest.importorskip(framework)
    runner = importlib.import_module(f"bpx_{framework}.verify").RUNNER()
    case = generic(spec)
    _, own = spec.forward(*case.arrays.values(), **case.options)
    _, residuals = runner.value(runner.rules[spec.name], "plain", case, "bfloat16")
    for r, mine, dtype in zip(residuals, own, spec.constant.values(), strict=True):
        assert r.dtype == mine.dtype == dtype


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_page_of_bytes_is_not_written_where_a_rule_keeps_more(framework, monkeypatch):
    pytest.importorskip(framework)
    assert _measured.memory_table(framework, ["mse", "clipped_straight_through_round"]).rows
    monkeypatch.setattr(memory, "_called", lambda rule: rule.plain_value)
    autodiff = memory.measured(_measured._runner(framework), ["clipped_straight_through_round"])
    assert [(k.autodiff, k.within()) for k in autodiff] == [(None, True)]
    more = memory.Kept("mse", "", (9, 4), (8, 4), None)
    assert not more.within()
    monkeypatch.setattr(_measured, "measured", lambda runner, names: [more])
    with pytest.raises(AssertionError, match="mse keeps more bytes for backward than autodiff"):
        _measured.memory_table(framework)
