"""`with_residuals` of a recorded call: y as a node of torch's graph, the residuals as constants."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from bpx_torch import RULES, _fast, _node
from bpx_torch import functional as F

pytestmark = pytest.mark.skipif(_node.build() is not None, reason=str(_node.available()))

FUNCTION = torch.autograd.function.BackwardCFunction
CASES = {
    "batch_norm": ((6, 5, 4), {"training": True}),
    "instance_norm": ((3, 5, 7), {}),
    "layer_norm": ((9, 5), {}),
}


def arguments(name, shape, seed):
    make = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=make)
    features = shape[-1] if name == "layer_norm" else shape[1]
    weight, bias = torch.randn(2, features, generator=make)
    more = (None, None) if name == "batch_norm" else ()
    return x, weight, bias, *more


def by_function(rule, arrays, options):
    """The same by the kernel's own Python."""
    plan = replace(rule.fast.plan(options, arrays), node=None, calls=_fast.NEVER)
    y, residuals = plan.forward(*arrays, **plan.options)
    return y, [r for r in residuals if r is not y]


@pytest.mark.parametrize("name", CASES)
def test_y_and_residuals_are_those_of_the_kernel(name):
    shape, options = CASES[name]
    rule = RULES[name]
    for seed in range(5):  # recorded by the third, found without Python from then on
        arrays = arguments(name, shape, seed)
        leaves = [a if a is None else a.clone().requires_grad_() for a in arrays]
        y, residuals = rule.with_residuals(*leaves, **options)
        want, kept = by_function(rule, arrays, options)
        assert torch.equal(y, want)
        assert len(residuals) == len(kept)
        for got, r in zip(residuals, kept, strict=True):
            assert torch.equal(got, r)
            assert not got.requires_grad
        dy = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
        there = [a for a in leaves if a is not None]
        grads = torch.autograd.grad(y, there, dy)
        again = [a.clone().requires_grad_() for a in arrays if a is not None]
        absent = arrays[len(again) :]
        for got, r in zip(
            grads, torch.autograd.grad(rule(*again, *absent, **options), again, dy), strict=True
        ):
            assert torch.equal(got, r)
    assert not isinstance(y.grad_fn, FUNCTION), "nothing was recorded"


def test_residuals_of_a_node_are_its_own_memory():
    """What a caller does to a statistic reaches no backward without torch's word."""
    arrays = [a for a in arguments("batch_norm", (6, 5, 4), 1) if a is not None]
    for _ in range(4):
        x = arrays[0].clone().requires_grad_()
        y, (mean, *_) = RULES["batch_norm"].with_residuals(
            x, *arrays[1:], None, None, training=True
        )
    mean.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(torch.ones_like(y))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_a_module_is_a_node(training):
    x, weight, bias, *_ = arguments("batch_norm", (6, 5, 4), 2)
    running = [torch.linspace(-1, 1, 5), torch.linspace(0.5, 2, 5)]
    want = [r.clone() for r in running]
    for _ in range(4):
        leaf = x.clone().requires_grad_()
        y = F.batch_norm(leaf, *running, weight, bias, training, momentum=0.3)
        reference = x.clone().requires_grad_()
        t = torch.nn.functional.batch_norm(reference, *want, weight, bias, training, momentum=0.3)
        dy = torch.sin(torch.arange(120.0)).reshape(x.shape)
        y.backward(dy)
        t.backward(dy)
        torch.testing.assert_close(y, t)
        torch.testing.assert_close(leaf.grad, reference.grad)
        torch.testing.assert_close(running, want)
    assert not isinstance(y.grad_fn, FUNCTION), "nothing was recorded"
