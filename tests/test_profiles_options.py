"""What a profile asks for, what wins over it, and where an optimizer keeps it."""

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
