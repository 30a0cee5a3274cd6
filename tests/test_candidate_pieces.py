"""Pieces of the kit that keep it from false alarms, each with the bug that it must let through to
nobody: rounding of second differences, a reference that is not finite, zeros, warnings."""

import warnings

import numpy as np
import pytest

from bpx.verify import Float, verify_rule
from bpx.verify.candidate import api
from bpx.verify.candidate.rounding import WIDEST, lost, too_much, vanishes
from bpx.verify.candidate.special import FLOATS
from bpx.verify.candidate.twice import STEPS, tolerance

torch = pytest.importorskip("torch")

from tests.candidate_rules import PAIR, plain, right, rule


def test_second_differences_may_lose_what_their_step_divides():
    """Of 1e9, whose rounding is 1e-7, differences over 2^-10 are good to 1e-4: no more is asked."""
    near = np.array([1e-3, 2e-3])
    rounding = 2.0**-53 * 1e9
    limit, smooth = tolerance(near, near + 1e-12, rounding, 1e-12)
    assert smooth.all()
    assert (limit >= rounding / STEPS[0]).all()
    assert (limit < 100 * rounding / STEPS[0]).all()
    assert (tolerance(near, near, 0.0, 1e-12)[0] < 1e-8).all()
    assert not tolerance(near, near + 1.0, 0.0, 1e-12)[1].any()  # a kink between the steps


def test_a_wrong_second_derivative_is_caught_beside_a_direction_too():
    def half(dy, x, w):
        return 2 * dy * x.detach() * w + 0 * x, (dy * x * x).sum(0)

    sizes = {"N": (3, 7), "D": (5, 9)}  # 63 elements at the point: more than are moved one by one
    report = verify_rule(rule(half), PAIR, ref=plain, only="twice", sizes=sizes)
    assert any("along a direction" in f.what for f in report.failures)
    assert any(f.what.endswith("argument 0") for f in report.failures)
    assert not verify_rule(rule(right), PAIR, ref=plain, only="twice", sizes=sizes).failures


def test_calculus_says_nothing_where_the_reference_is_not_finite():
    def forward(x, w):
        return torch.sqrt(x.clamp(max=-1.0)) + x * x * w  # NaN everywhere

    report = verify_rule(rule(right, forward), PAIR, ref=forward, only="calculus")
    assert not report.failures
    assert "the reference is not finite here" in report.skips()


def test_calculus_finds_a_reference_whose_gradient_is_not_its_derivative():
    def spec(factor):
        return (lambda x, w: x * x * w,
                lambda dy, x, w: (factor * dy * x * w, (dy * x * x).sum(0)))  # fmt: skip

    how = {"only": "calculus", "framework": "torch"}
    assert not verify_rule(plain, PAIR, spec=spec(2.0), **how).failures
    wrong = verify_rule(plain, PAIR, spec=spec(2.0 + 1e-5), **how).failures
    assert any("is not the derivative of its forward" in f.message for f in wrong)


def test_what_the_frameworks_checkers_say_of_right_rules():
    """The columns beside the kit: none of the checkers may fail for want of anything but a gradient
    (check_grads in its default modes fails for every custom_vjp)."""
    from dataclasses import replace

    from bpx_torch.zoo import PLANTS
    from bpx_torch.zoo.others import gradcheck, opcheck

    plants = {p.row: p for p in PLANTS}
    for row in (7, 14, 62):
        twin = replace(plants[row], wrong=plants[row].right)
        assert not gradcheck(twin)
        assert not opcheck(twin)
    assert gradcheck(plants[7])
    assert not opcheck(plants[7])
    assert not gradcheck(plants[14])
    assert opcheck(plants[62])


def test_check_grads_says_nothing_of_a_right_rule_of_jax():
    pytest.importorskip("jax")
    from dataclasses import replace

    from bpx_jax.zoo import PLANTS
    from bpx_jax.zoo.others import reverse

    plant = next(p for p in PLANTS if p.row == 25)
    assert reverse(plant)
    assert not reverse(replace(plant, wrong=plant.right))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_difference_is_too_much_only_where_no_other_run_could_excuse_it(dtype):
    """So that what other runs cost is saved: `vanishes` gives the same verdict for any of them."""
    rng, told = np.random.default_rng(2), []
    for _ in range(400):
        size = 10.0 ** rng.uniform(-3, 3)
        off, other = size * WIDEST * 10.0 ** rng.uniform(-22, 2, 2)
        want, got = np.zeros(3), np.array([0.0, off, -off / 2])
        told.append(too_much(got, want, dtype, size))
        assert not told[-1] or vanishes(got, [want + other], want, dtype, size) > 1
    assert 50 < sum(told) < 350
    assert too_much(np.array([np.nan]), np.zeros(1), dtype, 1.0)


def test_rounding_shrinks_with_the_unit_roundoff_and_a_wrong_formula_does_not():
    coarse = np.array([3e-7, -1e-7])
    fine, zero = coarse * 2.0**-29, np.zeros(2)
    assert vanishes(fine, [coarse], zero, "float64", 1.0) <= 1
    assert vanishes(coarse, [fine], zero, "float32", 1.0) <= 1
    assert vanishes(coarse, [coarse], zero, "float64", 1.0) > 1  # the same in both: a formula
    assert vanishes(fine, [zero], zero, "float64", 1.0) > 1
    assert (
        vanishes(fine, [1e4 * coarse], zero, "float64", 1.0) > 1
    )  # garbage in float32 excuses none
    assert vanishes(np.array([np.nan]), [coarse[:1]], zero[:1], "float64", 1.0) > 1
    assert (lost(1.0 + coarse, np.ones(2)) >= 2 * np.abs(fine)).all()
    assert (lost(1.0 + coarse, np.ones(2)) < 1e-12).all()


def test_a_gradient_that_should_be_zero_and_is_small_is_wrong():
    """A row of one element has no gradient through its norm; 1e-9 is none of rounding."""

    def forward(x):
        return x - x.mean(-1, keepdim=True)

    def backward(extra):
        return lambda dy, x: dy - dy.mean(-1, keepdim=True) + extra * dy

    how = {"ref": lambda x: x - x.sum(-1, keepdim=True) / x.shape[-1], "only": "shape::D=1"}
    rows = [Float("N", "D")]
    assert not verify_rule(rule_of_one(forward, backward(0.0)), rows, **how).failures
    assert verify_rule(rule_of_one(forward, backward(1e-9)), rows, **how).failures


def test_a_reference_that_saturates_to_nothing_says_nothing_below_a_roundoff():
    """autograd of tanh gives exactly 0 from x = 19 on, where the slope 1 / cosh(x)^2 is 1e-17; a
    gradient that is off by more than a roundoff of the incoming one is still wrong."""

    def failures(least):
        slope = rule_of_one(torch.tanh, lambda dy, x: dy * (1 / x.cosh().square() + least))
        rows = [Float("*N", low=19.1, high=700.0)]
        return verify_rule(slope, rows, ref=torch.tanh, only=("vjp", "cotangent")).failures

    assert not failures(0.0)
    assert failures(1e-11)


@pytest.mark.parametrize("scale", [1e-12, 1e-17, 1e-30])
def test_a_small_gradient_is_as_wrong_as_a_large_one(scale):
    def failures(factor):
        square = rule_of_one(lambda x: scale * x * x, lambda dy, x: dy * (factor * scale * x))
        how = {"ref": lambda x: scale * x * x, "only": ("kit", "vjp", "cotangent", "value")}
        return verify_rule(square, [Float("N", "D")], **how).caught_by()

    assert failures(2.0) == []
    assert failures(3.0) == ["vjp", "cotangent", "value"]


def test_a_specification_says_what_it_loses_in_float64_alone():
    """As a saturated gate does, whose slope is 0 in float32: run in long double it shows."""

    def lossy(dy, x):
        return dy * np.cos(x) * (1 + 1e-13 * (x.dtype == np.float64) * np.sign(np.sin(99 * x)))

    def failures(factor):
        right = rule_of_one(torch.sin, lambda dy, x: dy * factor * x.cos())
        how = {"spec": (np.sin, lossy), "only": "vjp"}
        return verify_rule(right, [Float("*N")], **how).failures

    assert not failures(1.0)
    assert failures(1 + 1e-11)


def rule_of_one(forward, backward):
    from bpx_torch.zoo._rule import function

    return function(forward, backward)


def test_no_special_value_is_subnormal():
    """A framework may flush them to zero, and be at the kink where the reference is beside it."""
    declared = FLOATS["declared points"](Float("N", at=(0.0,)), np.ones(6))
    assert all(a == 0 or abs(a) >= np.finfo(float).tiny for a in declared)
    assert len(set(declared.tolist())) == 3


def test_a_warning_is_named_and_is_no_crash():
    def warning(dy, x, w):
        warnings.warn("this rule is deprecated", DeprecationWarning, stacklevel=2)
        return right(dy, x, w)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = verify_rule(rule(warning), PAIR, ref=plain, quick=True)
    assert not report.failures
    assert any("this rule is deprecated" in reason for reason in report.skips())


def test_long_points_are_left_out_by_the_seconds_of_this_process(monkeypatch):
    from bpx.verify.candidate import tried

    trial = api.prepare(rule(right), PAIR, ref=plain, framework="torch")
    check = [c for c in api.plan(trial) if c.id == "shape::N=4097"]
    assert not api.judge(trial, check).skips()
    monkeypatch.setattr(tried, "LONGEST", 0.0)
    assert any("were it quadratic" in reason for reason in api.judge(trial, check).skips())
