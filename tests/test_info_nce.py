"""info_nce's gradients in forward beside the plain rule's backward."""

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx.rule import use
from bpx_torch.kernels.cpu import info_nce as kernel
from bpx_torch.losses.info_nce import info_nce
from tests.observed import answers

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

OPTIONS = (
    {"temperature": 0.7},
    {"temperature": 0.05, "reduction": "sum"},
    {"temperature": 2.5, "reduction": "none"},
)


@pytest.fixture
def early(monkeypatch):
    """Whether the calls took gradients in forward."""
    return answers(monkeypatch, kernel, "worth")


def pair(n=13, d=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n)
    return [torch.randn(n, d, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]


def run(name, given, options):
    """y, and its gradients for a dy that is not 1."""
    with use(name):
        y = info_nce(*given, **options)
    dy = torch.linspace(-1.5, 2, y.numel(), dtype=y.dtype).reshape(y.shape) + 0.25
    asked = [a for a in given if a.requires_grad]
    return y, torch.autograd.grad(y, asked, dy, retain_graph=True), asked, dy


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("asked", [(True, True), (True, False), (False, True)])
def test_the_plain_rules_gradients(options, asked, early):
    given = [a.detach().requires_grad_(need) for a, need in zip(pair(), asked, strict=True)]
    found, want = (run(name, given, options) for name in ("cpu", "plain"))
    assert set(early) == (set() if options.get("reduction") == "none" else {True})
    torch.testing.assert_close(found[:2], want[:2], rtol=1e-12, atol=1e-13)


def test_a_pair_that_is_found_keeps_its_digits(early):
    """Where the others are of 1e-20 together, so are the loss and its gradient."""
    q = torch.eye(24, 6, dtype=torch.float64)
    q[6:] = 0.25 * pair(18, 6)[0].detach()
    q = (q * 7).requires_grad_()
    found, want = (run(name, (q, q), {"temperature": 1.0}) for name in ("cpu", "plain"))
    torch.testing.assert_close(found[:2], want[:2], rtol=1e-12, atol=1e-15)
    assert set(early) == {True}


def test_again_and_the_second_derivative(early):
    _, first, asked, dy = run("cpu", pair(), OPTIONS[0])
    y = run("cpu", asked, OPTIONS[0])[0]
    for a, b in zip(first, torch.autograd.grad(y, asked, dy), strict=True):
        assert torch.equal(a, b)

    def second(name):
        y, *_ = run(name, asked, OPTIONS[0])
        grads = torch.autograd.grad(y, asked, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), asked)

    torch.testing.assert_close(second("cpu"), second("plain"), rtol=1e-11, atol=1e-13)
    assert all(early)


def test_few_rows_of_many_features_are_computed_again(early):
    given = pair(4, 9)
    found, want = (run(name, given, OPTIONS[0]) for name in ("cpu", "plain"))
    assert set(early) == {False}
    torch.testing.assert_close(found[:2], want[:2], rtol=1e-12, atol=1e-13)
    with torch.no_grad(), use("cpu"):
        info_nce(*pair())
    assert early[-1] is False  # before it, whether the call can be recorded


def test_what_it_refuses():
    q, k = pair()
    said = "it takes float32 or float64, not float64 beside float32"
    assert kernel.refuses((q, k.float()), {}) == said
    assert kernel.refuses((q, k.to("meta")), {}) == "an argument is on meta"
    assert kernel.refuses((q[:0], k[:0]), {}) == "an argument has no elements"
    assert kernel.refuses((q, k), {}) is None
