"""Parameters and gradients whose memory is not what they say: the core steps neither by address."""

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx.spec import SpecError
from bpx_torch import OPTIMIZERS, _native_step

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))


def numbers(seed):
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


def no_memory():
    """Zeros that torch knows of without holding them."""
    return numbers(0), torch._efficientzerotensor(4, 3)


def gradient_with_sign():
    return numbers(0), torch._neg_view(numbers(1))


def parameter_with_sign():
    return torch._neg_view(numbers(0)), numbers(1)


CASES = {
    no_memory: "a gradient has no memory",
    gradient_with_sign: "a parameter or gradient is not contiguous",
    parameter_with_sign: "a parameter's sign is pending",
}


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion"])
@pytest.mark.parametrize("given", CASES, ids=lambda f: f.__name__)
def test_stepped_by_the_loop(given, name, monkeypatch):
    said, run = [], _native_step.run
    monkeypatch.setattr(_native_step, "run", lambda *a: said.append(run(*a)) or said[-1])
    p, gradient = given()
    p = torch.nn.Parameter(p)
    q = torch.nn.Parameter(p.detach().resolve_neg().clone())
    p.grad, q.grad = gradient, torch.zeros(4, 3) + gradient
    before = q.detach().clone()
    OPTIMIZERS[name]([p], lr=0.1, weight_decay=0.1).step()
    OPTIMIZERS[name]([q], lr=0.1, weight_decay=0.1, foreach=False).step()
    assert CASES[given] in said[-1]
    assert torch.equal(p, q)
    assert not torch.equal(q, before)


def test_asked_for():
    p = torch.nn.Parameter(numbers(0))
    p.grad = torch._efficientzerotensor(4, 3)
    with pytest.raises(SpecError, match=r"adamw: fused is True, expected None \(a gradient has no"):
        OPTIMIZERS["adamw"]([p], fused=True).step()
