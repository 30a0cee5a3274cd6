"""Random calls through JAX's kernels, and that the fuzzer sees what is wrong, also under vmap."""

import dataclasses

import pytest

jax = pytest.importorskip("jax")

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.layers.layer_norm import RULE
from tests import native_fuzz_jax

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_ffi.available() is not None, reason=str(_ffi.available())),
]


def every_one_ran(counts):
    for name in {name for name, _ in counts}:
        assert counts[name, "ran"], f"{name} never ran"


def test_random_calls_agree_with_the_plain_rules():
    every_one_ran(native_fuzz_jax.fuzz(200, seed=0))


def test_random_calls_of_the_interpreted_kernels():
    every_one_ran(native_fuzz_jax.fuzz(25, seed=0, kernel="pallas"))


@pytest.mark.parametrize("mapped", [False, True])
def test_a_wrong_kernel_is_seen(monkeypatch, mapped):
    """A gradient that is off everywhere, or only for the second element of a batch."""
    kernel = RULE.kernels[0].loaded()

    def wrong(dy, *args, **options):
        dx, *rest = kernel.backward(dy, *args, **options)
        if dx is None:
            return dx, *rest
        if not mapped:
            return dx * 1.01, *rest
        second = jax.custom_batching.custom_vmap(lambda dx: dx)
        second.def_vmap(lambda size, in_batched, dx: (dx.at[1:].multiply(1.01), True))
        return second(dx), *rest

    planted = dataclasses.replace(kernel, backward=wrong, find=None)
    rule = type(RULE)(RULE.spec, (planted, RULE.plain))
    monkeypatch.setattr("bpx_jax.RULES", {"layer_norm": rule})
    with pytest.raises(AssertionError, match=r"layer_norm --seed 0 .* gradient is"):
        native_fuzz_jax.fuzz(40, seed=0)
