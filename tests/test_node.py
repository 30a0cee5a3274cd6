"""Recorded calls of rules as nodes of torch's graph, beside the same calls by the Function: the
same bits for every case, and the same behaviour."""

import itertools
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from bpx.verify import reference
from bpx_torch import _fast, _node
from bpx_torch.verify import RUNNER
from tests.recorded_rules import NOT_RECORDED, RULES, exactly

pytestmark = pytest.mark.skipif(_node.build() is not None, reason=str(_node.available()))

# in bfloat16 their weights, statistics or gradients are converted, or the plain kernel runs
CONVERTED = {
    *("affine", "attention", "batch_norm", "conv", "conv_feedback_alignment", "conv_transpose"),
    *("ctc_loss", "embedding", "embedding_bag", "gru", "instance_norm", "linear_cross_entropy"),
    *("lstm", "prelu", "rnn", "rope"),
}
FUNCTION = torch.autograd.function.BackwardCFunction


def plan_of(rule, options, arrays):
    """(the plan with its node, the same plan going by the Function), or None."""
    plan = rule.fast.plan(options, arrays)
    if plan is None:
        return None
    rule.fast.call(plan, arrays)
    return plan, replace(plan, node=None, calls=_fast.NEVER)


def cases(rule, dtype):
    """The arrays of every case for which there is a node, with options and both plans."""
    runner = RUNNER("cpu")
    for case in reference.cases(rule.spec):
        arrays = [
            None if a is None else a.contiguous() for a in runner.arrays(case, dtype, grad=False)
        ]
        plans = plan_of(rule, dict(case.options), arrays)
        if plans is not None and plans[0].node is not None:
            yield arrays, *plans


def others(arrays):
    """Other values than were recorded, of the same kind: the first of some indices is as the last,
    which may be ignored."""

    def other(a):
        if a is None or not a.is_floating_point():
            return a if a is None or a.dim() != 1 else torch.cat((a[-1:], a[1:]))
        return a * 0.75 if (a < 0).any() else a

    return [other(a) for a in arrays]


def leaves(arrays, chosen):
    return [a if a is None else a.clone().requires_grad_(i in chosen) for i, a in enumerate(arrays)]


def subsets(arrays):
    floats = [i for i, a in enumerate(arrays) if a is not None and a.is_floating_point()]
    return itertools.chain.from_iterable(
        itertools.combinations(floats, n) for n in range(1, len(floats) + 1)
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", RULES)
def test_the_bits_of_the_function(name, dtype):
    rule, nodes, generator = RULES[name], 0, torch.Generator().manual_seed(7)
    for arrays, plan, other in cases(rule, dtype):
        arrays = others(arrays)
        exactly(rule.fast.call(plan, arrays), rule.fast.call(other, arrays))
        for chosen in subsets(arrays):
            found = []
            for way in (plan, other):
                own = leaves(arrays, chosen)
                y = rule.fast.call(way, own)
                if way is plan:
                    dy = torch.randn(y.shape, generator=generator).to(y.dtype)
                    nodes += not isinstance(y.grad_fn, FUNCTION)
                    kernel = rule.kernels[plan.place].name
                    assert y.grad_fn.name() == f"{name}_{kernel}Backward"
                    assert y._is_view() == plan.view  # no history but the node's
                else:
                    assert isinstance(y.grad_fn, FUNCTION)
                given = [own[i] for i in chosen]
                grads = torch.autograd.grad(y, given, dy, retain_graph=True)
                found.append((y, *grads))
                # one gradient alone, which was not recorded: a loop of its own in some kernels
                (one,) = torch.autograd.grad(y, given[-1], dy)
                torch.testing.assert_close(one, grads[-1], equal_nan=True)
            for a, b in zip(*found, strict=True):
                exactly(a, b)
    alone = {*NOT_RECORDED, *(CONVERTED if dtype == "bfloat16" else ())}
    assert (nodes == 0) == (name in alone)


@pytest.mark.parametrize("name", RULES)
def test_derivatives_of_the_derivative(name):
    rule, generator = RULES[name], torch.Generator().manual_seed(8)
    for arrays, plan, other in itertools.islice(cases(rule, "float64"), 3):
        chosen = max(subsets(arrays), key=len)
        found = []
        for way in (plan, other):
            own = leaves(arrays, chosen)
            given = [own[i] for i in chosen]
            y = rule.fast.call(way, own)
            if way is plan:
                dy = torch.randn(y.shape, generator=generator, dtype=y.dtype)
                weights = [torch.randn(a.shape, generator=generator, dtype=a.dtype) for a in given]
            dy = dy.clone().requires_grad_()
            first = torch.autograd.grad(y, given, dy, create_graph=True)
            # y beside what the gradients depend on: both outputs of a node get a cotangent
            total = (y * dy.detach()).sum()
            total = total + sum((g * w).sum() for g, w in zip(first, weights, strict=True))
            more = torch.autograd.grad(total, [dy, *given], allow_unused=True)
            found.append((*first, *more))
        for a, b in zip(*found, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                exactly(a, b)
