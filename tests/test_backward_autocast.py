"""Backward inside a region of autocast whose forward was outside: the same bits as without."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from bpx import rule
from bpx.verify import reference
from bpx_torch import RULES, _node
from bpx_torch.verify import RUNNER

RUN = RUNNER("cpu")


@pytest.mark.parametrize("way", ["recorded", "short", "long"])
@pytest.mark.parametrize("name", RULES)
def test_the_region_changes_nothing(name, way, monkeypatch):
    if way == "recorded":
        _node.build()
    else:
        monkeypatch.setattr(_node, "module", lambda: None)
    chosen, generator = RULES[name], torch.Generator().manual_seed(2)
    for case in itertools.islice(reference.cases(chosen.spec), 3):
        arrays = RUN.arrays(case, "float32", grad=True)
        with rule.use("plain" if way == "long" else None):
            for _ in range(3 if way == "recorded" else 1):
                y = chosen(*arrays, **case.options)
        given = [a for a in arrays if a is not None and a.requires_grad]
        if y.grad_fn is None or not given:
            continue
        dy = torch.randn(y.shape, generator=generator)

        def grads(y=y, given=given, dy=dy):
            return torch.autograd.grad(y, given, dy, retain_graph=True, allow_unused=True)

        outside = grads()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = grads()
        for a, b in zip(inside, outside, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
