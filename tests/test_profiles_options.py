"""What a profile asks for, what wins over it, and where an optimizer keeps it."""

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("jax")

from bpx.spec import SpecError
from bpx_jax import optim as of_jax
from bpx_torch import optim as of_torch


def test_what_is_required_is_said() -> None:
    p = torch.nn.Parameter(torch.ones(2))
    message = r"is not given, expected a value \(optax has no default for it\)"
    with pytest.raises(SpecError, match=f"adam: lr {message}"):
        of_torch.Adam([p], profile="optax")
    with pytest.raises(SpecError, match=f"adam: learning_rate {message}"):
        of_jax.adam(profile="optax")
    with pytest.raises(SpecError, match=r"sgd: profile is 'flax', expected one of \['torch', "):
        of_torch.SGD([p], profile="flax")


def test_an_option_given_wins_and_stays_with_the_checkpoint() -> None:
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = of_torch.Adam([p], eps=1e-3, profile="keras")
    assert optimizer.param_groups[0]["eps"] == 1e-3
    assert not of_torch.Adam([p], profile="keras", eps_hat=False).param_groups[0].get("eps_hat")
    # the convention is in the groups, where it is not torch's, and goes where they go
    other = of_torch.Adam([torch.nn.Parameter(torch.ones(2))])
    assert "eps_hat" not in other.param_groups[0]
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["eps_hat"]
    optimizer.add_param_group({"params": [torch.ones(3)]})
    assert optimizer.param_groups[1]["eps_hat"]


def test_adafactor_of_optax_compiled_resumed_and_in_bfloat16() -> None:
    """What the trajectories do not show: sizes 0 and 1, the axes found while tracing."""
    given = {"profile": "optax", "min_dim_size_to_factor": 2, "momentum": 0.6, "lr": 0.1}
    shapes = ((4, 3), (5,), (), (0, 4), (2, 3, 4))

    def made(dtype: torch.dtype = torch.float64) -> list[torch.nn.Parameter]:
        torch.manual_seed(1)
        return [torch.nn.Parameter(torch.randn(s, dtype=dtype)) for s in shapes]

    def advance(ps: list[torch.nn.Parameter], step: object, count: int) -> None:
        for t in range(count):
            for p in ps:
                p.grad = torch.cos(p.detach() * (t + 1))
            step()  # type: ignore[operator]

    want, compiled = made(), made()
    whole = of_torch.Adafactor(want, **given)
    advance(want, whole.step, 3)
    optimizer = of_torch.Adafactor(compiled, **given)
    run = torch.compile(lambda: optimizer.step(), backend="aot_eager", fullgraph=True)
    advance(compiled, run, 3)
    resumed = [torch.nn.Parameter(p.detach().clone()) for p in want]
    other = of_torch.Adafactor(resumed, **given)
    other.load_state_dict(copy.deepcopy(whole.state_dict()))  # torch shares tensors
    for ps, opt in ((want, whole), (compiled, optimizer), (resumed, other)):
        advance(ps, opt.step, 2)
    for ps in (compiled, resumed):
        for p, q in zip(ps, want, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)
    half = made(torch.bfloat16)
    optimizer = of_torch.Adafactor(half, **given)
    advance(half, optimizer.step, 3)
    found = {v.dtype for s in optimizer.state.values() for v in s.values()}
    assert found == {torch.float32}
    assert all(p.isfinite().all() for p in half)
