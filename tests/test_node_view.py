"""A node whose result is a view of its argument: what torch does with views, as by the Function."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from bpx_torch import RULES, _fast, _node

pytestmark = pytest.mark.skipif(_node.build() is not None, reason=str(_node.available()))

CALL = RULES["flatten"].fast.call


def plans():
    """(the plan with its node, the same plan going by the Function)."""
    x = torch.randn(2, 3, 4)
    plan = RULES["flatten"].fast.plan({"start_dim": 1, "end_dim": -1}, (x,))
    CALL(plan, (x,))
    assert plan.node is not None
    return plan, replace(plan, node=None, calls=_fast.NEVER)


def flat(plan, z):
    return CALL(plan, (z,))


def outcome(function, plan):
    """What a function of (plan, a leaf) gives, numbers or torch's error."""
    x = torch.arange(24.0).reshape(2, 3, 4).sin().requires_grad_()
    try:
        return [a.tolist() for a in function(plan, x)]
    except RuntimeError as error:
        return str(error)


def grad(y, x):
    return torch.autograd.grad(y, x)


def the_result_is_written(plan, x):
    y = flat(plan, z := x * 1)
    y.mul_(3)
    return grad(z.square().sum(), x)


def the_argument_is_written(plan, x):
    y = flat(plan, z := x * 1)
    z.mul_(3)
    return grad(y.square().sum(), x)


def the_argument_is_written_and_used(plan, x):
    y = flat(plan, z := x * 1)
    z.mul_(3)
    return (y.detach(), *grad(z.square().sum(), x))


def the_result_is_written_unseen(plan, x):
    y = flat(plan, z := x * 1)
    y.detach().mul_(3)
    return (z.detach(), *grad(z.square().sum(), x))


def what_was_saved_is_written(plan, x):
    y = flat(plan, z := x * 1)
    square = y.square()
    z.detach().mul_(3)
    return grad(square.sum(), x)


def a_constant_is_written(plan, x):
    y = flat(plan, z := torch.ones(2, 3, 4))
    y.mul_(x.sum())
    return grad(z.square().sum(), x)


def without_gradients(plan, x):
    with torch.no_grad():
        y = flat(plan, x)
    y.mul_(x.sum())
    return (y,)


def a_view_of_the_result_is_written(plan, x):
    y = flat(plan, x * 1)
    y[0].mul_(3)
    return grad(y.square().sum(), x)


def twice(plan, x):
    (g,) = torch.autograd.grad(flat(plan, x).pow(3).sum(), x, create_graph=True)
    return grad(g.square().sum(), x)


def an_expanded_cotangent(plan, x):
    return grad(flat(plan, x).sum(), x)


def with_gaps(plan, x):
    z = x.transpose(1, 2).contiguous().transpose(1, 2)
    return grad((flat(plan, z) * torch.arange(24.0).reshape(2, 12)).sum(), x)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (the_result_is_written, "is a view and is being modified inplace"),
        (the_argument_is_written, "its base or another view of its base has been modified inplace"),
        (the_argument_is_written_and_used, None),
        (the_result_is_written_unseen, None),
        (
            what_was_saved_is_written,
            "its base or another view of its base has been modified inplace",
        ),
        (a_constant_is_written, None),
        (without_gradients, "created in no_grad mode and is being modified inplace"),
        (a_view_of_the_result_is_written, "is being modified inplace"),
        (twice, None),
        (an_expanded_cotangent, None),
        (with_gaps, None),
    ],
)
def test_as_the_function(function, error):
    found, expected = (outcome(function, plan) for plan in plans())
    assert found == expected
    assert isinstance(found, str) == (error is not None)
    assert error is None or error in found


def test_the_result_is_a_view():
    plan, _ = plans()
    x = torch.randn(2, 3, 4, requires_grad=True)
    y = flat(plan, x)
    assert y._base is x
    assert y.shape == (2, 12)
    assert not isinstance(y.grad_fn, torch.autograd.function.BackwardCFunction)
    dy = torch.randn(2, 12)
    (dx,) = torch.autograd.grad(y, x, dy)
    assert torch.equal(dx, dy.reshape(2, 3, 4))
    assert dx.data_ptr() == dy.data_ptr()
