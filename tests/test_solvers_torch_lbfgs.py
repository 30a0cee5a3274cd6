"""What bpx_torch.optim.LBFGS takes, beside torch.optim.LBFGS."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bpx_torch import optim

MAXIMIZES = "maximize" in inspect.signature(torch.optim.LBFGS).parameters


def test_signature_is_torchs() -> None:
    """And `maximize`, which torch has from 2.14 on."""
    ours, theirs = (inspect.signature(c).parameters for c in (optim.LBFGS, torch.optim.LBFGS))
    plain = [[(p.name, p.kind, p.default) for p in s.values()] for s in (ours, theirs)]
    p = torch.nn.Parameter(torch.ones(2))
    groups = [c([p]).param_groups[0] for c in (optim.LBFGS, torch.optim.LBFGS)]
    if not MAXIMIZES:
        assert plain[0].pop() == ("maximize", inspect.Parameter.KEYWORD_ONLY, False)
        assert not groups[0].pop("maximize")
    assert plain[0] == plain[1]
    assert list(groups[0].items()) == list(groups[1].items())


class Fit:
    """The least of a sum of cosh, or the largest of minus it."""

    def __init__(self, maker: Any, search: str | None, maximize: bool) -> None:
        self.w = torch.nn.Parameter(torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64))
        more = {"maximize": True} if maximize else {}
        self.optimizer = maker([self.w], lr=0.5, max_iter=4, line_search_fn=search, **more)
        self.sign = -1 if maximize else 1

    def closure(self) -> Any:
        self.optimizer.zero_grad()
        scale = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
        loss = self.sign * (torch.cosh(self.w - 0.3) * scale).sum()
        loss.backward()
        return loss

    def run(self) -> list[float]:
        return [self.sign * self.optimizer.step(self.closure).item() for _ in range(2)]


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_the_largest_of_minus_the_loss(search: Any) -> None:
    """The points of the least loss, bit by bit; beside torch's own where it has the option."""
    least, most = Fit(optim.LBFGS, search, False), Fit(optim.LBFGS, search, True)
    assert least.run() == most.run()
    assert torch.equal(least.w, most.w)
    a, b = least.optimizer.result, most.optimizer.result
    assert (a.value, a.gradient, a.outcome) == (-b.value, b.gradient, b.outcome)
    assert b.value < -4.4
    if MAXIMIZES:
        theirs = Fit(torch.optim.LBFGS, search, True)
        theirs.run()
        torch.testing.assert_close(most.w, theirs.w, rtol=1e-6, atol=1e-9)


def test_goes_on_from_a_state_without_the_option() -> None:
    """As torch before 2.14 saves it, which minimizes."""
    least, most = Fit(optim.LBFGS, None, False), Fit(optim.LBFGS, None, True)
    least.run()
    most.run()
    saved = most.optimizer.state_dict()
    del saved["param_groups"][0]["maximize"]
    on = Fit(optim.LBFGS, None, False)
    on.optimizer.load_state_dict(saved)
    with torch.no_grad():
        on.w.copy_(most.w)
    assert on.run() == least.run()
    assert torch.equal(on.w, least.w)
