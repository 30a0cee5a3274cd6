"""Which trials of an optimizer's entry PyTorch takes, and what a run of bpx_torch is compared with.

Everything follows from the record and the class, so a new optimizer needs no line here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bpx.optimizers import ALL
from bpx.spec import Optimizer
from bpx_torch.optimizers import OPTIMIZERS
from tests import trajectories as tj

SPECS = {spec.name: spec for spec in ALL}


def keywords(spec: Optimizer, options: dict[str, Any]) -> dict[str, Any] | None:
    """The torch arguments of a set of options; None where torch has not all of them."""
    accepted = inspect.signature(OPTIMIZERS[spec.name]).parameters
    if any(k not in accepted and v != spec.options[k] for k, v in options.items()):
        return None
    return {k: v for k, v in options.items() if k in accepted}


def takes_all(spec: Optimizer, options: dict[str, Any]) -> bool:
    """Whether the class has all options, among them those that torch's has not and that its shown
    signature leaves out."""
    accepted = inspect.signature(inspect.unwrap(OPTIMIZERS[spec.name].__init__)).parameters
    return all(k in accepted or v == spec.options[k] for k, v in options.items())


CASES = [(s, t) for s in ALL for t in s.trials if keywords(s, t) is not None]


def trials(spec: Optimizer) -> list[dict[str, Any]]:
    """Those that the class takes, the one with the most options first."""
    return sorted((t for s, t in CASES if s is spec), key=len, reverse=True)


def loud(spec: Optimizer) -> dict[str, Any]:
    return {**keywords(spec, trials(spec)[0]), "lr": 0.1}


def own(name: str) -> Any:
    """torch.optim's class, or None."""
    return getattr(torch.optim, OPTIMIZERS[name].__name__, None)


def pair(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two makers that must agree: torch.optim's and ours; where it has none, our two loops."""
    ours = OPTIMIZERS[name]
    if own(name) is not None:
        return own(name), ours
    return functools.partial(ours, foreach=True), functools.partial(ours, foreach=False)


# torch.optim iterates in bfloat16: it is compared with ours in bfloat16 too, and ours in float64
# with the specification.
COARSE = frozenset({"muon"})


def takes(name: str, option: str) -> bool:
    return option in inspect.signature(OPTIMIZERS[name]).parameters


def accepted(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the given arguments that the class has."""
    return {k: v for k, v in given.items() if takes(name, k)}


@contextlib.contextmanager
def float64_scalars() -> Iterator[None]:
    """torch.optim keeps the numbers of its states in the default dtype: here they are exact."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def leaves(spec: Optimizer, dtype: Any = torch.float64) -> list[Any]:
    """Parameters as in the specification's run; the first is a transposed view of its storage."""
    found = []
    for i, p in enumerate(tj.parameters(spec)):
        x = torch.tensor(p, dtype=dtype)
        x = x.t().contiguous().t() if i == 0 else x
        found.append(torch.nn.Parameter(x))
    assert not found[0].is_contiguous()
    return found


def matrices(dtype: Any = torch.float64) -> list[Any]:
    """Two parameters that every optimizer takes."""
    torch.manual_seed(3)
    shapes = ((4, 3), (2, 5))
    return [torch.nn.Parameter(torch.randn(s, dtype=torch.float64).to(dtype)) for s in shapes]


def advance(optimizer: Any, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        optimizer.step()


def same(a: list[Any], b: list[Any]) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-13)
