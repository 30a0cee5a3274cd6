"""What bpx_torch's solvers refuse: options, parameters, gradients."""

from __future__ import annotations

import re
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bpx.spec import SpecError
from bpx_torch.solvers import SOLVERS
from tests.test_solvers_outcomes import REJECTS, TAKES
from tests.test_solvers_torch import each

LEAST = ("gauss_newton", "levenberg_marquardt")


@pytest.mark.parametrize(("option", "value", "says"), REJECTS, ids=lambda x: str(x)[:40])
def test_options(option: str, value: Any, says: str) -> None:
    p = torch.nn.Parameter(torch.ones(2))
    for name in [TAKES[option]] if option in TAKES else list(SOLVERS):
        with pytest.raises(SpecError, match=f"^{re.escape(f'{name}: {says}')}$"):
            SOLVERS[name]([p], **{option: value})
        with pytest.raises(SpecError, match=f"^{re.escape(f'{name}: {says}')}$"):
            SOLVERS[name]([{"params": [p], option: value}])


@each
def test_refuses(name: str) -> None:
    cls, p = SOLVERS[name], torch.nn.Parameter(torch.ones(2))
    with pytest.raises(TypeError, match=f"^{name}: step needs a closure that "):
        cls([p]).step()
    with pytest.raises(SpecError, match=f"^{name}: 2 parameter groups, expected one$"):
        cls([{"params": [p]}, {"params": [torch.nn.Parameter(torch.ones(1))]}])
    optimizer = cls([p])
    with pytest.raises(SpecError, match=f"^{name}: 2 parameter groups, expected one$"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    assert len(optimizer.param_groups) == 1
    says = rf"{name}: parameter 1 has dtype torch.complex64, expected a real floating one \(torch"
    with pytest.raises(SpecError, match=f"^{says}"):
        cls([p, torch.nn.Parameter(torch.ones(1, dtype=torch.complex64))])


@pytest.mark.parametrize("name", ["newton", *LEAST])
def test_refuses_chunks_of_nothing(name: str) -> None:
    with pytest.raises(SpecError, match=f"^{name}: chunk_size is 0, expected an integer at least"):
        SOLVERS[name]([torch.nn.Parameter(torch.ones(2))], chunk_size=0)


@pytest.mark.parametrize("name", ["bfgs", "lbfgs"])
def test_refuses_sparse_gradients(name: str) -> None:
    table = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = SOLVERS[name](table.parameters())

    def closure() -> Any:
        loss = table(torch.tensor([1])).sum()
        loss.backward()
        return loss

    says = f"{name}: the gradient of parameter 0 has layout torch.sparse_coo, expected a dense one"
    with pytest.raises(SpecError, match=f"^{says}$"):
        optimizer.step(closure)
