"""Bugs that live in one set of options, or in one layout, are found by the structural checks."""

import importlib

import numpy as np
import pytest

from bpx.rule import Kernel
from bpx.spec import Case
from bpx.verify.legs import each_option_set, generic, verify_structure


def broken(rule, **changes):
    """The rule with some functions of its plain kernel exchanged, and the kit's findings on it."""
    plain = rule.plain
    parts = {"forward": plain.forward, "backward": plain.backward, "tangent": plain.tangent}
    return rule.with_plain(Kernel("plain", **{**parts, **changes}))


def failures(framework, rule, checks):
    """check -> names of the cases in which it fails."""
    runner = importlib.import_module(f"bpx_{framework}.verify").RUNNER()
    runner.checks = {name: runner.checks[name] for name in checks}
    found = {}
    for finding in verify_structure(rule, runner, "plain"):
        if not finding.ok:
            found.setdefault(finding.what, []).append(finding.case)
    return found


def rules(framework):
    pytest.importorskip(framework)
    return importlib.import_module(f"bpx_{framework}").RULES


def test_every_set_of_options_is_met_once():
    found = each_option_set(rules("torch")["gelu"].spec)
    assert [c.options["approximate"] for c in found] == ["none", "tanh"]


def test_gradient_skipped_with_another_at_one_option():
    rule = rules("torch")["cross_entropy"]

    def backward(dy, arrays, residuals, needs, **options):
        everything = tuple(a is not None and a.is_floating_point() for a in arrays)
        grads = list(rule.plain.backward(dy, arrays, residuals, everything, **options))
        if options["reduction"] == "none" and not needs[0] and grads[2] is not None:
            grads[2] = 1.5 * grads[2]
        return grads

    found = failures("torch", broken(rule, backward=backward), ("needs",))
    cases = {c.name: c.options for c in each_option_set(rule.spec)}
    assert found["needs"]
    assert {cases[name]["reduction"] for name in found["needs"]} == {"none"}


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_second_derivative_cut_at_one_option(framework):
    rule = rules(framework)["gelu"]
    if framework == "torch":
        cut = lambda x: x.detach()  # noqa: E731
    else:
        cut = importlib.import_module("jax").lax.stop_gradient

    def backward(dy, arrays, residuals, needs, **options):
        if options["approximate"] == "tanh":
            arrays = tuple(map(cut, arrays))
        return rule.plain.backward(dy, arrays, residuals, needs, **options)

    found = failures(framework, broken(rule, backward=backward), ("second derivative",))
    assert found == {"second derivative": ["loud approximate"]}
    assert generic(rule.spec).name != "loud approximate"


def test_dy_read_as_channels_last():
    """A backward that takes every four-dimensional dy for a contiguous one."""
    rule = rules("torch")["sin"]
    torch = importlib.import_module("torch")

    def backward(dy, arrays, residuals, needs, **options):
        if dy.is_contiguous(memory_format=torch.channels_last):
            dy = dy.permute(0, 2, 3, 1).reshape(dy.shape)
        return rule.plain.backward(dy, arrays, residuals, needs, **options)

    runner = importlib.import_module("bpx_torch.verify").RUNNER()
    case = Case("a picture", {"x": np.random.default_rng(2).standard_normal((2, 3, 4, 5))})
    assert runner.checks["layouts"](runner, broken(rule), "plain", case, "float64") is None
    with pytest.raises(AssertionError, match="channels_last incoming gradient"):
        runner.checks["layouts"](runner, broken(rule, backward=backward), "plain", case, "float64")
