"""Cross-entropy of a row with infinite logits, by every kernel that runs here."""

import importlib

import numpy as np
import pytest

from bpx.losses.cross_entropy import SPEC

LOGITS = np.array(
    [
        [1.0, np.inf, 2.0],  # the label beside it
        [np.inf, 0.0, 1.0],  # of the label
        [-np.inf, 0.5, 1.0],  # a label without a chance
        [0.0, -np.inf, 1.0],
        [-np.inf, -np.inf, -np.inf],
        [np.inf, -np.inf, np.inf],
        [0.0, 1.0, 2.0],
    ]
)
LABELS = np.zeros(len(LOGITS), np.int64)


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("kernel", ["plain", "cpu"])
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_values_of_the_specification(framework, kernel, smoothing):
    numbers = pytest.importorskip("jax.numpy" if framework == "jax" else "torch")
    rule = importlib.import_module(f"bpx_{framework}").RULES["cross_entropy"]
    options = {"reduction": "none", "label_smoothing": smoothing}
    given = numbers.asarray(LOGITS), numbers.asarray(LABELS), None
    found = next(k for k in rule.kernels if k.name == kernel)
    if (why := found.refuses(given, {})) is not None:
        pytest.skip(why)
    y, residuals = rule.forward(*given, kernel=kernel, **options)
    dy = numbers.asarray(1.0 + np.arange(len(LOGITS)))
    dlogits, *_ = rule.backward(dy, given, residuals, kernel=kernel, **options)
    full = SPEC.complete(options)
    with np.errstate(all="ignore"):
        want = SPEC.forward(LOGITS, LABELS, None, **full)[0]
        gradient = SPEC.backward(np.asarray(dy), LOGITS, LABELS, None, **full)[0]
    np.testing.assert_allclose(np.asarray(y), want, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(dlogits), gradient, rtol=1e-12, atol=1e-14)
    assert np.isnan(want[[0, 1, 4, 5]]).all()
