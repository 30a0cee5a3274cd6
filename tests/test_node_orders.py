"""A recorded call is of one order of axes: arrays without gaps whose axes lie otherwise in memory,
an image's channels last or a sequence's heads apart, are recorded as they lie."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from bpx_torch import _fast, _node, _recording
from tests.recorded_rules import RULES, exactly

pytestmark = pytest.mark.skipif(_node.build() is not None, reason=str(_node.available()))
FUNCTION = torch.autograd.function.BackwardCFunction


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def images(seed=0):
    return draw(2, 3, 4, 5, seed=seed).movedim(-1, 1)


def heads(seed=0):
    return draw(2, 7, 3, 4, seed=seed).transpose(1, 2)


def thirds():
    """Heads of the three parts of one product, with the other parts between them."""
    parts = draw(2, 7, 3 * 12).chunk(3, -1)
    return *(a.unflatten(2, (3, 4)).transpose(1, 2) for a in parts), None, None, None


def classes():
    x = draw(2, 5, 3, 4).movedim(1, -1)
    target = torch.randint(5, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    return (x, target, draw(5).abs()), {"reduction": "none", "label_smoothing": 0.25}


ORDERS = {
    "gelu": lambda: ((images(),), {}),
    "relu": lambda: ((images(),), {}),
    "tanh": lambda: ((draw(4, 6).t(),), {}),
    "attention": lambda: ((heads(), heads(1), heads(2), None, None, None), {}),
    "attention, thirds": lambda: (thirds(), {"causal": True}),
    "batch_norm": lambda: ((images(), draw(5), draw(5), None, None), {"training": True}),
    "cross_entropy": classes,
}


def gradients(name, arrays, options, dy, recorded=True):
    """(y, the gradients of all float arguments), by a node or by the Function."""
    rule = RULES[name.partition(",")[0]]
    given = [
        a.detach().requires_grad_() if a is not None and a.is_floating_point() else a
        for a in arrays
    ]
    plan = rule.fast.plan(options, given)
    if not recorded:
        plan = replace(plan, node=None, calls=_fast.NEVER)
    y = rule.fast.call(plan, given)
    wrt = [a for a in given if a is not None and a.requires_grad]
    return y, torch.autograd.grad(y, wrt, dy(y))


def alike(y):
    """A cotangent in the order of y."""
    return torch.empty_like(y).copy_(draw(*y.shape, seed=3))


@pytest.mark.parametrize("name", ORDERS)
def test_the_bits_and_the_order_before_and_after(name):
    arrays, options = ORDERS[name]()
    assert not arrays[0].is_contiguous()
    first = gradients(name, arrays, options, alike, recorded=False)
    assert isinstance(first[0].grad_fn, FUNCTION)
    for _ in range(4):
        y, grads = gradients(name, arrays, options, alike)
    assert not isinstance(y.grad_fn, FUNCTION), "nothing was recorded"
    for a, b in zip((y, *grads), (first[0], *first[1]), strict=True):
        exactly(a, b)
        assert a.stride() == b.stride()


@pytest.mark.parametrize("name", ORDERS)
def test_another_order_is_another_call(name):
    """The same shapes without turned axes, and a cotangent of another order, after a call that was
    recorded: the values of the plain layout."""
    arrays, options = ORDERS[name]()
    packed = [None if a is None else a.contiguous() for a in arrays]
    for _ in range(4):
        gradients(name, arrays, options, alike)
    for given, dy in (
        (packed, alike),
        (arrays, lambda y: draw(*y.shape, seed=3)),
        (packed, lambda y: draw(*y.shape[::-1]).permute(*range(y.ndim)[::-1])),
    ):
        own, other = (gradients(name, g, options, dy) for g in (given, arrays))
        for a, b in zip((own[0], *own[1]), (other[0], *other[1]), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_calls_without_a_gradient_are_recorded_too():
    x, rule = images(), RULES["silu"]
    found = [rule(x) for _ in range(5)]
    plan = rule.fast.plan({}, (x,))
    assert plan.node is not None
    for y in found:
        exactly(y, found[0])
        assert y.stride() == x.stride()


def test_a_node_takes_its_own_order_alone():
    for x in (images(), images().contiguous()):
        rule, other = RULES["mish"], x.movedim(1, -1).contiguous().movedim(-1, 1)
        other = other if x.is_contiguous() else x.contiguous()
        for _ in range(4):
            rule(x)
        node = rule.fast.plan({}, (x,)).node
        exactly(node(x), rule.forward(x, kernel="cpu")[0])
        assert node(other) is None
        assert node(x[:, ::2]) is None


def test_what_is_kept_in_another_order_goes_the_long_way():
    x = images().requires_grad_()
    rule = RULES["gelu"]
    for _ in range(5):
        y = rule(x)
    assert not isinstance(y.grad_fn, FUNCTION)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.contiguous()):
        turned = rule(x)
    dy = alike(y)
    exactly(torch.autograd.grad(turned, x, dy)[0], torch.autograd.grad(y, x, dy)[0])


def test_the_plans_of_one_shape_are_apart():
    rule, x = RULES["sigmoid"], draw(6, 6, seed=9)
    rule.fast.plans.clear()
    for given in (x, x.t()) * 3:
        rule(given)
    strides = [key[-1] for key in rule.fast.plans]
    assert strides == [x.shape, (1, 6)]
    for given in (x, x.t()):  # both are found without Python
        exactly(rule.fast.known((given,), {}), rule.forward(given, kernel="cpu")[0])


@pytest.mark.parametrize("gaps", [False, True])
def test_a_part_of_something_large_is_not_recorded(monkeypatch, gaps):
    """A copy that lies as it does would be as large."""
    arrays = (draw(2, 3, 50, 3)[:, :, ::10], *thirds()[1:])
    arrays = tuple(a if a is None else a[:, :, :5, :3] for a in arrays)
    bytes = sum(a.nbytes for a in arrays if a is not None)
    monkeypatch.setattr(_recording, "LARGEST", bytes if gaps else 100 * bytes)
    rule, options = RULES["attention"], {"scale": 0.5 + gaps}
    for _ in range(4):
        rule(*arrays, **options)
    assert (rule.fast.plan(options, arrays).node is None) == gaps
