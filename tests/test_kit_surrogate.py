"""The kit on rules that differ from the derivative on purpose: the mark has to be deserved, and
what is marked is held to its own definition."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

import bpx
from bpx.rule import Kernel
from bpx.verify import Float, Report, verify_op, verify_rule, verify_spec
from bpx.verify.legs import generic, verify_backward
from bpx.verify.mutate import mutants
from bpx.verify.surrogate import REFUSED

SPECS = {spec.name: spec for spec in bpx.ALL}
MARKED = [spec for spec in bpx.ALL if spec.surrogate]
FRAMEWORKS = pytest.mark.parametrize("framework", ["torch", "jax"])


def runner_of(framework):
    pytest.importorskip(framework)
    return importlib.import_module(f"bpx_{framework}.verify").RUNNER()


@pytest.mark.parametrize("name", ["tanh", "relu", "linear", "layer_norm", "cross_entropy"])
def test_a_derivative_is_refused_the_mark(name):
    spec = replace(SPECS[name], surrogate="on purpose, it is said")
    messages = [f.message for f in verify_spec(spec) if not f.ok]
    assert messages == [REFUSED]


@pytest.mark.parametrize("name", ["tanh", "linear"])
def test_one_argument_that_differs_is_enough(name):
    spec = SPECS[name]

    def backward(dy, *arrays, **options):
        first, *rest = spec.backward(dy, *arrays, **options)
        return (first * (1 + 1e-9), *rest)

    Report(verify_spec(replace(spec, backward=backward, surrogate="a test"))).check()


def test_nan_is_no_difference():
    def backward(dy, x):
        return (dy * np.nan,)

    spec = replace(SPECS["tanh"], backward=backward, surrogate="a test")
    assert Report(verify_spec(spec)).failures


def test_a_gradient_of_an_index_is_refused():
    spec = SPECS["embedding"]

    def backward(dy, *arrays, **options):
        return tuple(
            np.ones(np.shape(a)) if g is None else 2 * g
            for a, g in zip(arrays, spec.backward(dy, *arrays, **options), strict=True)
        )

    failures = Report(verify_spec(replace(spec, backward=backward, surrogate="a test"))).failures
    assert {f.message for f in failures} == {"is not None"}


def test_nonlinear_needs_the_mark():
    with pytest.raises(TypeError, match="tanh: linear is False, expected True without a surrogate"):
        replace(SPECS["tanh"], linear=False)


@FRAMEWORKS
def test_what_is_not_run_is_named(framework):
    runner = runner_of(framework)
    findings = list(verify_op(runner.rules["straight_through_sign"], runner, ("float64",)))
    for leg in ("autodiff", "fd"):
        reasons = {f.skipped for f in findings if f.leg == leg and "kink" not in f.case}
        assert reasons
        assert all(r.startswith("surrogate: the derivative of a step is 0") for r in reasons), leg
    for leg in ("forward", "backward", "own", "structure"):
        assert any(not f.skipped for f in findings if f.leg == leg), leg


# module, what to break, name of the rule
TARGETS = [
    ("spike", "_arctan", "SPIKE_ARCTAN"),
    ("straight_through", "_near", "CLIPPED_STRAIGHT_THROUGH_SIGN"),
    ("gradient", "clip_norm_backward", "GRADIENT_CLIP_NORM"),
    ("linear_feedback_alignment", "backward", "RULE"),
    ("direct_feedback_alignment", "backward", "RULE"),
]
EQUIVALENT = {
    "asked = ": "in JAX alone: there every gradient is given, and XLA drops what nobody takes",
    "unit = wide / ": "what is divided out is multiplied again, unless it is 0",
    "factor = ": "where the norm is the largest allowed, both branches give 1",
    "if dy.": "an empty gradient is empty either way",
}
PLANTS = 8


@FRAMEWORKS
@pytest.mark.parametrize(("path", "target", "name"), TARGETS)
def test_a_surrogate_with_a_wrong_backward_is_caught(framework, path, target, name):
    runner = runner_of(framework)
    module = importlib.import_module(f"bpx_{framework}.surrogate.{path}")
    planted, missed = 0, []
    for mutant in mutants(module, target):
        if planted == (PLANTS if framework == "torch" else PLANTS // 2):
            break
        planted += 1
        rule = mutant.namespace[name]
        try:
            caught = any(not f.ok for f in verify_backward(rule, runner, "plain", "float64"))
            for check in ("needs", "raw return") if framework == "torch" else ("raw return",):
                runner.checks[check](runner, rule, "plain", generic(rule.spec), "float64")
        except Exception:
            caught = True
        if not caught:
            missed.append(mutant)
    assert planted
    assert not [
        f"{m.description} in {m.line}"
        for m in missed
        if not any(m.line.startswith(line) for line in EQUIVALENT)
    ]


@FRAMEWORKS
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        # the exact derivative in the place of the rule: no gradient, no reversal, the transpose
        ("straight_through_round", lambda grads, arrays: [0 * grads[0]]),
        ("gradient_reversal", lambda grads, arrays: [-grads[0]]),
        ("linear_sign_symmetric", lambda grads, arrays: [grads[0] * 1.01, *grads[1:]]),
    ],
)
def test_the_derivative_in_place_of_the_rule_is_caught(framework, name, wrong):
    runner = runner_of(framework)
    rule = runner.rules[name]

    def backward(dy, arrays, *args, **options):
        return tuple(wrong(rule.plain.backward(dy, arrays, *args, **options), arrays))

    broken = rule.with_plain(Kernel("plain", rule.plain.forward, backward))
    failed = {f.leg for f in verify_backward(broken, runner, "plain", "float64") if not f.ok}
    assert failed == {"backward", "own"}


@FRAMEWORKS
def test_a_second_derivative_that_is_cut_is_caught(framework):
    """The derivative of the backward formula itself, of which autodiff of forward says nothing."""
    runner = runner_of(framework)
    rule = runner.rules["spike_arctan"]
    check = runner.checks["second derivative"]
    assert check(runner, rule, "plain", generic(rule.spec), "float64") is None
    library = importlib.import_module("torch" if framework == "torch" else "jax.lax")

    def backward(dy, arrays, *args, **options):
        cut = library.detach if framework == "torch" else library.stop_gradient
        return rule.plain.backward(dy, tuple(map(cut, arrays)), *args, **options)

    broken = rule.with_plain(Kernel("plain", rule.plain.forward, backward))
    with pytest.raises((AssertionError, RuntimeError)):
        check(runner, broken, "plain", generic(rule.spec), "float64")


def test_second_derivatives_agree():
    """Through the output as well: torch and JAX give the derivative of the same thing."""
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    from bpx_jax.surrogate import spike_arctan as in_jax
    from bpx_torch.surrogate import spike_arctan as in_torch

    x = np.random.default_rng(3).standard_normal(7)

    def once(x):
        return jax.grad(lambda x: jax.numpy.sin(in_jax(x) * x).sum())(x)

    want = jax.jacrev(once)(x)
    t = torch.tensor(x, requires_grad=True)
    got = torch.autograd.functional.hessian(lambda x: torch.sin(in_torch(x) * x).sum(), t)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)
    assert np.abs(want).max() > 0.1


def stranger(torch, factor):
    class Reverse(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, weight):
            return x * weight

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, dy):
            x, weight = ctx.saved_tensors
            return -factor * dy * weight, dy * x

    return Reverse.apply


def verdict(rule, ref, surrogate, framework):
    args = [Float("N D"), Float("N D")]
    return verify_rule(rule, ref=ref, args=args, framework=framework, surrogate=surrogate)


def test_verify_rule_of_a_surrogate():
    torch = pytest.importorskip("torch")

    def ref(x, weight):
        return x * weight

    def reverse(dy, x, weight):
        return -dy * weight, dy * x

    def derivative(dy, x, weight):
        return dy * weight, dy * x

    assert verdict(stranger(torch, 1.0), ref, reverse, "torch").check().compared > 10
    wrong = verdict(stranger(torch, 1.001), ref, reverse, "torch").failures
    assert "vjp" in {f.leg for f in wrong}
    assert {f.what for f in wrong if f.leg == "vjp"} == {"gradient of argument 0"}
    marked = verdict(stranger(torch, -1.0), ref, derivative, "torch").failures
    assert [f.message for f in marked] == [REFUSED]


def test_verify_rule_of_a_surrogate_in_jax():
    jax = pytest.importorskip("jax")

    @jax.custom_vjp
    def scaled(x, weight):
        return x * weight

    def bwd(saved, dy):
        x, weight = saved
        return -dy * weight, dy * x

    scaled.defvjp(lambda x, weight: (x * weight, (x, weight)), bwd)

    def ref(x, weight):
        return x * weight

    # defined a little differently: one gradient is wrong, and nothing else is
    report = verdict(scaled, ref, lambda dy, x, w: (-1.01 * dy * w, dy * x), "jax")
    assert "vjp" in {f.leg for f in report.failures}
    assert {f.what for f in report.failures if f.leg == "vjp"} == {"gradient of argument 0"}
