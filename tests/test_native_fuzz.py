"""Random calls through the kernels that hide their arithmetic, and that the fuzzer sees what is
wrong."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx_torch.layers.layer_norm import RULE
from tests import native_fuzz

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(native.available() is not None, reason=str(native.available())),
]


def test_random_calls_agree_with_the_plain_rules():
    counts = native_fuzz.fuzz(1500, seed=0)
    assert sum(n for (_, outcome), n in counts.items() if outcome == "ran") >= 1500
    for name in {name for name, _ in counts}:
        assert counts[name, "ran"], f"{name} never ran"


def test_random_calls_of_the_interpreted_kernels():
    pytest.importorskip("triton")
    counts = native_fuzz.fuzz(400, seed=0, kernel="triton")
    for name in {name for name, _ in counts}:
        assert counts[name, "ran"], f"{name} never ran"


def test_a_wrong_kernel_is_seen(monkeypatch):
    kernel = RULE.kernels[0].loaded()

    def wrong(*args, **options):
        dx, *rest = kernel.backward(*args, **options)
        return None if dx is None else dx * 1.01, *rest

    planted = dataclasses.replace(kernel, backward=wrong, find=None)
    rule = type(RULE)(RULE.spec, (planted, RULE.plain), RULE.autocast)
    monkeypatch.setattr("bpx_torch.RULES", {"layer_norm": rule})
    with pytest.raises(AssertionError, match="layer_norm: gradient is"):
        native_fuzz.fuzz(60, seed=0)
