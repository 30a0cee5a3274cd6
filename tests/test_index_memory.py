"""Indices whose memory is not what they say: minus it, or none."""

import pytest

torch = pytest.importorskip("torch")

import bpx_torch.functional as F
from bpx.spec import SpecError

CALLS = {
    "cross_entropy": lambda x, i: F.cross_entropy(x, i, reduction="none"),
    "nll_loss": lambda x, i: F.nll_loss(x, i, reduction="none"),
    "multi_margin": lambda x, i: F.multi_margin_loss(x, i, reduction="none"),
    "embedding": lambda x, i: F.embedding(i, x),
}
X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
PENDING = torch._neg_view(torch.tensor([-1, -2, 0, -3]))
OUTSIDE = torch._neg_view(torch.tensor([1, 2, 0, 3]))  # whose memory holds classes
NONE = torch._efficientzerotensor((4,), dtype=torch.int64)


@pytest.mark.parametrize("name", CALLS)
def test_first_and_recorded_calls(name):
    call = CALLS[name]
    for _ in range(5):
        x = X.clone().requires_grad_()
        for given, same in ((PENDING, [1, 2, 0, 3]), (NONE, [0, 0, 0, 0])):
            y, want = call(x, given), call(x, torch.tensor(same))
            assert torch.equal(y, want)
            dy = 1.0 + torch.arange(y.numel()).view(y.shape)
            found = [torch.autograd.grad(a, x, dy)[0] for a in (y, want)]
            assert torch.equal(*found)
        with pytest.raises(SpecError, match="holds -1, expected 0 <= "):
            call(x, OUTSIDE)
