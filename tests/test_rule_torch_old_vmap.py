"""torch's older ways to many derivatives at once, and tensors without memory."""

import pytest

torch = pytest.importorskip("torch")
from torch.autograd import functional as autograd

from bpx.verify.legs import generic
from bpx_torch import RULES
from bpx_torch import functional as F
from bpx_torch.verify import TorchRunner

RUNNER = TorchRunner()


@pytest.mark.parametrize("name", RULES)
def test_gradients_in_a_batch(name):
    """is_grads_batched=True, whose tensors few of torch's operations know, equals a loop."""
    rule = RULES[name]
    case = generic(rule.spec)
    arrays = RUNNER.arrays(case, "float64", grad=True)
    y = rule(*arrays, **case.options)
    asked = [a for a in arrays if a is not None and a.requires_grad]
    dys = torch.randn(3, *y.shape, dtype=y.dtype)
    got = torch.autograd.grad(y, asked, dys, retain_graph=True, is_grads_batched=True)
    for i, dy in enumerate(dys):
        for g, w in zip(got, torch.autograd.grad(y, asked, dy, retain_graph=True), strict=True):
            torch.testing.assert_close(g[i], w, rtol=1e-12, atol=1e-12)


WEIGHT = torch.randn(4, 5, dtype=torch.float64)
FACES = {
    "layer_norm": lambda x: F.layer_norm(x, (5,), WEIGHT[0]),
    "linear": lambda x: F.linear(x, WEIGHT),
    "cross_entropy": lambda x: F.cross_entropy(
        x, torch.tensor([1, 2, 4]), WEIGHT[1].abs(), reduction="none"
    ),
}


@pytest.mark.parametrize("name", FACES)
def test_vectorized_jacobian_and_hessian(name):
    f, x = FACES[name], torch.randn(3, 5, dtype=torch.float64)
    want = autograd.jacobian(f, x)
    for how in ({}, {"create_graph": True}, {"strategy": "forward-mode"}):
        torch.testing.assert_close(autograd.jacobian(f, x, vectorize=True, **how), want)
    curved = lambda x: f(x).sin().sum()  # noqa: E731
    want = autograd.hessian(curved, x)
    for outer in ("reverse-mode", "forward-mode"):
        got = autograd.hessian(curved, x, vectorize=True, outer_jacobian_strategy=outer)
        torch.testing.assert_close(got, want)


def test_a_tensor_without_memory_is_read_as_zeros():
    """torch stands in for zeros, of forward mode among others, by a tensor that has no storage."""
    x = torch.randn(3, 64, dtype=torch.float64, requires_grad=True)
    nothing = torch._efficientzerotensor((3, 64), dtype=torch.float64)
    (dx,) = torch.autograd.grad(F.layer_norm(x, (64,)), x, nothing)
    assert not dx.any()
    assert not F.layer_norm(nothing, (64,)).any()
