"""bpx_torch.functional.linear_cross_entropy and nn.LinearCrossEntropyLoss beside torch's own."""

import inspect

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from bpx.spec import SpecError
from bpx_torch import functional, nn

pytestmark = pytest.mark.skipif(
    not hasattr(F, "linear_cross_entropy"), reason="this torch has no linear_cross_entropy"
)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def compare(inputs, target, **options):
    """Values and gradients of x, weight and bias."""
    results = []
    for f in (functional.linear_cross_entropy, F.linear_cross_entropy):
        x, weight, bias = leaves = [a.clone().requires_grad_() for a in inputs]
        y = f(x, weight, target, linear_bias=bias, **options)
        dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
        results.append((y, *torch.autograd.grad(y, leaves, dy)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def test_signature():
    ours, theirs = functional.linear_cross_entropy, F.linear_cross_entropy
    names = {n: p.default for n, p in inspect.signature(theirs).parameters.items()}
    assert {n: p.default for n, p in inspect.signature(ours).parameters.items()} == names


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_labels(reduction):
    target = torch.tensor([3, 0, 6, 0, 2])
    weight = torch.rand(7, dtype=torch.float64) + 0.5
    inputs = randn(5, 4), randn(7, 4), randn(7)
    options = {"weight": weight, "reduction": reduction, "label_smoothing": 0.2}
    compare(inputs, target, **options)
    compare(inputs, target, ignore_index=0, **options)
    compare(inputs, target.new_tensor([3, -100, 6, 0, -100]), **options)
    compare((randn(4), *inputs[1:]), target[2], reduction=reduction)


def test_probabilities_and_more_dims():
    inputs = randn(5, 4), randn(7, 4), randn(7)
    compare(inputs, randn(5, 7).softmax(-1), label_smoothing=0.1)
    wide = randn(5, 4), randn(7, 2, 3, 4), randn(7, 2, 3)
    compare(wide, torch.randint(0, 7, (5, 2, 3)), reduction="none")
    with pytest.raises(SpecError, match="ignore_index is 2, expected None where target"):
        functional.linear_cross_entropy(
            inputs[0], inputs[1], randn(5, 7).softmax(-1), ignore_index=2
        )


def test_options_do_not_change_the_result():
    x, weight, target = randn(5, 4), randn(7, 4), torch.randint(0, 7, (5,))
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
    chunked = functional.linear_cross_entropy(x, weight, target, options=options)
    assert torch.equal(chunked, functional.linear_cross_entropy(x, weight, target))


@pytest.mark.parametrize("bias", [False, True])
def test_module(bias):
    given = {"bias": bias, "label_smoothing": 0.1, "dtype": torch.float64}
    ours, theirs = (m.LinearCrossEntropyLoss(4, 7, **given) for m in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    x, target = randn(5, 4), torch.randint(0, 7, (5,))
    torch.testing.assert_close(ours(x, target), theirs(x, target), rtol=1e-12, atol=1e-12)
    wide = [m.LinearCrossEntropyLoss(4, 7, out_features=(2,), **given) for m in (nn, torch.nn)]
    wide[0].load_state_dict(wide[1].state_dict())
    target = torch.randint(0, 7, (5, 2))
    torch.testing.assert_close(wide[0](x, target), wide[1](x, target), rtol=1e-12, atol=1e-12)


def test_autocast():
    """torch's dtypes: products in bfloat16, a loss and gradients in float32."""
    x, weight = torch.randn(64, 32), torch.randn(50, 32)
    target = torch.randint(0, 50, (64,))
    found = []
    for f in (functional.linear_cross_entropy, F.linear_cross_entropy):
        leaves = [a.clone().requires_grad_() for a in (x, weight)]
        with torch.autocast("cpu"):
            y = f(*leaves, target)
        found.append((y, *torch.autograd.grad(y, leaves)))
        assert {a.dtype for a in found[-1]} == {torch.float32}
    leaves = [a.bfloat16().double().requires_grad_() for a in (x, weight)]
    y = F.cross_entropy(F.linear(*leaves), target)
    want = (y, *torch.autograd.grad(y, leaves))
    # the loss has no rounding to bfloat16 but that of its inputs, torch's has that of its logits
    assert abs(found[0][0] - y) < 1e-6 < abs(found[1][0] - y)
    for g, w in zip(found[0][1:], want[1:], strict=True):  # dlogits, and the gradient itself
        assert (g - w).abs().max() <= 2 * 2.0**-8 * w.abs().max()
