"""Writing in place to what a rule gave out, as to the result of one of torch's own operations."""

import pytest

torch = pytest.importorskip("torch")

from bpx import rule
from bpx.verify import reference
from bpx_torch import RULES, _node
from bpx_torch.verify import RUNNER

RUN = RUNNER("cpu")
WAYS = ("recorded", "short", "long")


def call(way, chosen, arrays, options):
    """By a node where there can be one, by the short way's Function, or by the long way's."""
    if way == "long":
        with rule.use("plain"):
            return chosen(*arrays, **options)
    for _ in range(2 if way == "recorded" else 0):
        chosen(*arrays, **options)
    return chosen(*arrays, **options)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RULES)
def test_every_result_can_be_written_to(name, way, monkeypatch):
    """But a view of an argument, which torch keeps from that; its gradient would go past the
    rule's."""
    if way == "recorded":
        _node.build()
    else:
        monkeypatch.setattr(_node, "module", lambda: None)
    chosen = RULES[name]
    for case in reference.cases(chosen.spec):
        arrays = RUN.arrays(case, "float32", grad=True)
        y = call(way, chosen, arrays, case.options)
        if y.grad_fn is None:
            continue
        memory = {a.untyped_storage().data_ptr() for a in arrays if a is not None}
        if y.numel() and y.untyped_storage().data_ptr() in memory:
            with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
                y.mul_(2)
        elif y.numel():
            y.mul_(2)


@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_of_what_was_written(way, monkeypatch):
    if way == "recorded":
        _node.build()
    else:
        monkeypatch.setattr(_node, "module", lambda: None)
    x, w, b = (
        torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(2, 3, 4), (5, 4), (5,)]
    )
    factor = torch.randn(2, 3, 5, dtype=torch.float64)
    found = []
    for linear in (lambda: call(way, RULES["linear"], (x, w, b), {}), None):
        y = torch.nn.functional.linear(x, w, b) if linear is None else linear()
        y.mul_(factor)
        y[0].add_(y[1].detach())
        y.relu_()
        found.append((y.detach(), *torch.autograd.grad(y, (x, w, b), factor.cos())))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
