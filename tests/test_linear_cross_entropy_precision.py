"""The digits of the fused linear layer and cross-entropy: half precision, large logits, sums."""

import numpy as np
import pytest

from bpx.verify.bound import UNIT
from tests.linear_cross_entropy_runs import FRAMEWORKS, draws, given, run


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_half_precision_logits_are_not_rounded(framework):
    """Around 200 bfloat16 has steps of 1: a loss from rounded logits is off by as much."""
    torch = pytest.importorskip("torch")
    arrays = draws(16, 32, 50, weights=False)
    arrays["bias"] = arrays["bias"] + 200.0
    floats = ("x", "weight", "bias")
    halves = {k: torch.tensor(arrays[k]).bfloat16().double().numpy() for k in floats}
    halves = {**arrays, **halves}
    want = run(framework, halves, own=True, reduction="none")
    found = run(framework, halves, "bfloat16", reduction="none", chunk=7)
    off = np.abs(found["y"] - want["y"])
    assert (off <= UNIT["bfloat16"] * want["y"] + 16 * UNIT["float32"] * 200).all()
    for k in floats:  # p, the gradient and its product: three roundings
        assert np.abs(found[k] - want[k]).max() <= 4 * UNIT["bfloat16"] * np.abs(want[k]).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_large_logits(framework, dtype):
    """A row of dlogits is wy (p - onehot), which sums to nothing; exp(z - lse) would leave the
    rounding of lse, 300 eps, in it."""
    arrays = draws(9, 4, 13)
    arrays["bias"] += 300
    found = run(framework, arrays, dtype, chunk=4)
    # a mean of 9 rows: sums of 13 numbers up to 1, each rounded in exp, the sum and the product
    assert abs(found["bias"].sum()) <= 16 * UNIT[dtype]
    want = run(framework, arrays, "float64", own=True)
    for k in ("x", "weight", "bias"):  # the logits themselves round by 300 eps, apart
        assert np.abs(found[k] - want[k]).max() <= 2 * 300 * UNIT[dtype] * np.abs(want[k]).max()


def test_jax_sums_products_in_float32():
    """XLA for the CPU would hide a product that is rounded to bfloat16; other devices would not."""
    jax = pytest.importorskip("jax")
    from bpx_jax.fused.linear_cross_entropy import linear_cross_entropy

    x, weight, target, *_ = given("jax", draws(5, 4, 11), "bfloat16").values()
    f = jax.grad(lambda x, weight: linear_cross_entropy(x, weight, target, chunk=4), (0, 1))
    text = jax.jit(f).lower(x, weight).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) >= 4
    assert not [line for line in products if not line.rstrip().endswith("f32>") or "xf32>," in line]
