"""Arguments of which only the shape is kept for backward: nobody looks at more than that."""

import importlib

import numpy as np
import pytest

import bpx
from bpx.verify.legs import generic
from bpx.verify.reference import cotangent

ENTRIES = [s for s in bpx.ALL if s.shapes]


def test_there_are_some():
    names = {"embedding", "avg_pool", "adaptive_avg_pool", "upsample_linear", "upsample_nearest"}
    assert {s.name for s in ENTRIES} >= names


@pytest.mark.parametrize("spec", ENTRIES, ids=lambda s: s.name)
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
    assert kept <= others, f"{kept} bytes kept, {others} without {named}"
