"""The torch wrapper where kernels and residuals meet: dual numbers, labels, meta tensors."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from bpx.verify.legs import generic
from bpx_torch import RULES
from bpx_torch.verify import TorchRunner

RUNNER = TorchRunner()


CURVED = ("layer_norm", "cross_entropy", "softmax", "exp", "mse", "huber", "triplet_margin")
SMOOTH = ("mse", "huber", "smooth_l1", "nll_loss", "triplet_margin")


@pytest.mark.parametrize("name", CURVED)
def test_dual_numbers_through_backward(name):
    """Forward mode over reverse mode without create_graph: residuals move with the inputs."""
    from torch.autograd import forward_ad

    rule, case = RULES[name], generic(RULES[name].spec)
    arrays = RUNNER.arrays(case, "float64")
    t = torch.randn_like(arrays[0])

    def slope(x):
        y = rule(x, *arrays[1:], **case.options)
        weights = torch.arange(1.0, 1 + y.numel(), dtype=y.dtype).reshape(y.shape)
        return torch.autograd.grad((y * weights).sum(), x)[0]

    with forward_ad.dual_level():
        x = forward_ad.make_dual(arrays[0].clone().requires_grad_(), t)
        got = forward_ad.unpack_dual(slope(x)).tangent
    h = 1e-6
    up, down = ((arrays[0] + s * h * t).requires_grad_() for s in (1, -1))
    want = (slope(up) - slope(down)) / (2 * h)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)


def by_the_short_way(rule):
    """The rule with its plain kernel in the place of a native one."""
    return type(rule)(rule.spec, (replace(rule.plain, name="cpu"), rule.plain), rule.autocast)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("how", ["loop", "short", "old vmap", "old vmap, forward mode", "func"])
def test_hessian_through_a_residual_with_a_derivative(name, how):
    rule, case = RULES[name], generic(RULES[name].spec)
    if how == "short":
        rule = by_the_short_way(rule)
    arrays = RUNNER.arrays(case, "float64")
    at = tuple(i for i, a in enumerate(arrays) if a is not None and a.is_floating_point())

    def of(f):
        def loss(*values):
            full = list(arrays)
            for i, v in zip(at, values, strict=True):
                full[i] = v
            return torch.sin(3 * f(*full, **case.options).sum())

        return loss

    values = tuple(arrays[i] for i in at)
    want = torch.autograd.functional.hessian(of(rule.plain_value), values)
    if how == "func":
        got = torch.func.hessian(of(rule), tuple(range(len(at))))(*values)
    else:
        way = "forward-mode" if how.endswith("forward mode") else "reverse-mode"
        got = torch.autograd.functional.hessian(
            of(rule), values, vectorize=how.startswith("old"), outer_jacobian_strategy=way
        )
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    assert how != "short" or any(rule.fast.plans.values())


def test_a_wrong_derivative_of_a_residual_is_found():
    rule = RULES["mse"]
    check, case = RUNNER.checks["second derivative"], generic(rule.spec)
    wrong = replace(
        rule.plain,
        residuals_backward=lambda d, arrays, residuals, needs, **options: (d[0], d[0]),
    )
    check(RUNNER, rule.with_plain(rule.plain), "plain", case, "float64")
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        check(RUNNER, rule.with_plain(wrong), "plain", case, "float64")


def test_a_residual_without_its_derivative_is_refused():
    rule = RULES["mse"]
    with pytest.raises(TypeError, match="no derivative of its residuals"):
        rule.with_plain(replace(rule.plain, residuals_backward=None))
    with pytest.raises(TypeError, match="no derivative of its residuals"):
        rule.with_plain(replace(rule.plain, residuals_tangent=None))


@pytest.mark.parametrize("name", ["l1", "leaky_relu", "threshold"])
@pytest.mark.parametrize("short", [False, True])
def test_second_derivative_of_a_piecewise_linear_rule_is_zero(name, short):
    """As of torch's own operations, and not an error that nothing depends on x."""
    rule = by_the_short_way(RULES[name]) if short else RULES[name]
    x, *others = RUNNER.arrays(generic(rule.spec), "float64", grad=True)
    (dx,) = torch.autograd.grad(rule(x, *others).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(dx.square().sum(), x)
    assert dx.abs().min() > 0 or name == "threshold"
    assert second.shape == x.shape
    assert not second.any()


def test_one_residual_in_place_of_two_arguments():
    """The kit refuses a rule that keeps both, though autodiff makes as many new bytes."""
    rule, check = RULES["mse"], RUNNER.checks["saved bytes"]
    both = type(rule)(replace(rule.spec, saves=("x", "target")), (rule.plain,), "float32")
    check(RUNNER, rule, "plain", generic(rule.spec), "float64")
    with pytest.raises(AssertionError, match="keeps 360 bytes, autodiff 120"):
        check(RUNNER, both, "plain", generic(rule.spec), "float64")


def test_labels_in_a_parameter_are_looked_at():
    from bpx.spec import SpecError

    labels = torch.nn.Parameter(torch.tensor([0, 1, 9]), requires_grad=False)
    with pytest.raises(SpecError, match="target holds 9"):
        RULES["cross_entropy"](torch.randn(3, 4), labels, None)


def test_losses_on_meta_tensors():
    x = torch.empty(3, 4, device="meta")
    assert RULES["mse"](x, torch.empty_like(x)).device.type == "meta"
