"""A variance that overflows makes its row NaN in every norm and kernel, not zeros."""

import importlib

import numpy as np
import pytest

NORMS = {
    "layer_norm": ((2, 8), {}),
    "rms_norm": ((2, 8), {}),
    "group_norm": ((2, 6, 5), {"num_groups": 3}),
    "instance_norm": ((2, 3, 7), {}),
    "batch_norm": ((4, 3), {"training": True}),
}
# NumPy computes the overflow, in the spec and in Triton's interpreter
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")


def huge(shape):
    """Generic rows of which the first overflows float32 when squared."""
    x = np.random.default_rng(4).standard_normal(shape)
    return np.concatenate([1e20 * (x[:1] + np.sign(x[:1])), x[1:]]).astype(np.float32)


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("name", NORMS)
def test_overflow_is_seen(name, framework):
    pytest.importorskip(framework)
    runner = importlib.import_module(f"bpx_{framework}.verify").RUNNER()
    shape, options = NORMS[name]
    rule, x = runner.rules[name], huge(shape)
    arguments = [runner.array(x, "float32"), *[None] * (len(rule.spec.args) - 1)]
    for kernel in rule.kernels:
        with runner.using(kernel.name):
            y = np.asarray(rule(*arguments, **options))
        rest = y if name == "batch_norm" else y[:1]  # every channel has a huge element
        assert np.isnan(rest).all(), f"{kernel.name}: {rest}"
        if name != "batch_norm":
            assert np.isfinite(y[1:]).all(), kernel.name


@pytest.mark.parametrize("name", NORMS)
def test_overflow_is_seen_by_the_spec(name):
    spec = next(s for s in importlib.import_module("bpx").ALL if s.name == name)
    shape, options = NORMS[name]
    x = huge(shape).astype(np.float64) * 1e180
    y, _ = spec.forward(x, **spec.complete(options))
    assert np.isnan(y if name == "batch_norm" else y[:1]).all()
