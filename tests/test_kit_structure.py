"""Rules that are right in their arithmetic and wrong in their behaviour: each structural check
fails for the bug it is there for."""

import pytest

torch = pytest.importorskip("torch")

from bpx.rule import Kernel
from bpx.verify import Float, verify_rule
from bpx.verify.legs import generic
from bpx_torch import RULES
from bpx_torch._checks import CHECKS
from bpx_torch.verify import TorchRunner

RUNNER = TorchRunner()
RULE = RULES["layer_norm"]
PLAIN = RULE.plain


def fails(check, **changes):
    """The message with which a check refuses layer_norm with some of its functions exchanged."""
    parts = {"forward": PLAIN.forward, "backward": PLAIN.backward, "tangent": PLAIN.tangent}
    rule = RULE.with_plain(Kernel("plain", **{**parts, **changes}))
    with pytest.raises((AssertionError, RuntimeError)) as caught:
        CHECKS[check](RUNNER, rule, "plain", generic(rule.spec), "float64")
    return str(caught.value)


def test_right_rule_passes():
    for name, check in CHECKS.items():
        check(RUNNER, RULE.with_plain(PLAIN), "plain", generic(RULE.spec), "float64"), name


def test_dy_written_to():
    def backward(dy, *args, **options):
        grads = PLAIN.backward(dy, *args, **options)
        dy.mul_(1.5)
        return grads

    assert "written to" in fails("unchanged", backward=backward)


def test_dy_read_as_contiguous():
    def backward(dy, *args, **options):
        flat = (
            torch.as_strided(dy, (dy.numel(),), (1,), dy.storage_offset())
            if (dy.untyped_storage().nbytes() >= dy.numel() * 8)
            else dy.reshape(-1)
        )
        return PLAIN.backward(flat.reshape(dy.shape), *args, **options)

    assert "incoming gradient" in fails("layouts", backward=backward)


def test_gradient_skipped_with_another():
    def backward(dy, arrays, residuals, needs, **options):
        dx, dweight, dbias = PLAIN.backward(dy, arrays, residuals, (True,) * 3, **options)
        return dx, (dweight if needs[0] else torch.zeros_like(dweight)), dbias

    assert "are asked for" in fails("needs", backward=backward)


def test_shape_left_to_the_engine():
    def backward(dy, *args, **options):
        dx, dweight, _ = PLAIN.backward(dy, *args, **options)
        return dx, dweight, dy

    assert "dbias has shape" in fails("raw return", backward=backward)


def test_not_linear_in_dy():
    def backward(dy, *args, **options):
        return PLAIN.backward(dy.abs(), *args, **options)

    assert "-1000 dy" in fails("linear in dy", backward=backward)


def test_second_derivative_cut():
    def backward(dy, arrays, *args, **options):
        arrays = tuple(None if a is None else a.detach() for a in arrays)
        return PLAIN.backward(dy, arrays, *args, **options)

    fails("second derivative", backward=backward)


def test_saves_too_much():
    def forward(x, weight, bias, **options):
        y, (mu, rstd) = PLAIN.forward(x, weight, bias, **options)
        return y, (mu.expand_as(x).clone(), torch.cat([rstd] * 60, -1))

    def backward(dy, arrays, residuals, needs, **options):
        mu, rstd = residuals
        return PLAIN.backward(dy, arrays, (mu[..., :1], rstd[..., :1]), needs, **options)

    assert "bytes" in fails("saved bytes", forward=forward, backward=backward)


def test_wrong_tangent():
    def tangent(tangents, *args, **options):
        return 1.001 * PLAIN.tangent(tangents, *args, **options)

    assert "jvp" in fails("forward mode", tangent=tangent)


def test_no_tangent_is_a_clear_error():
    rule = RULE.with_plain(Kernel("plain", PLAIN.forward, PLAIN.backward))
    assert CHECKS["forward mode"](RUNNER, rule, "plain", generic(rule.spec), "float64") is None


def silu_function(backward):
    class Silu(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x * torch.sigmoid(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

    Silu.backward = staticmethod(backward)
    return Silu.apply


def right(ctx, dy):
    (x,) = ctx.saved_tensors
    s = torch.sigmoid(x)
    return dy * s * (1 + x * (1 - s))


def test_verify_rule_passes_a_right_rule():
    args = [Float("*N D")]
    report = verify_rule(
        silu_function(right), ref=torch.nn.functional.silu, args=args, framework="torch"
    )
    assert report.check().compared > 10


def test_verify_rule_names_what_is_wrong():
    def wrong(ctx, dy):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return dy * s * (1 + x * s)

    report = verify_rule(
        silu_function(wrong), ref=torch.nn.functional.silu, args=[Float("*N D")], framework="torch"
    )
    with pytest.raises(AssertionError, match=r"vjp::generic-0: gradient of argument 0 is off"):
        report.check()


def test_verify_rule_jax():
    jax = pytest.importorskip("jax")

    @jax.custom_vjp
    def silu(x):
        return x * jax.nn.sigmoid(x)

    def bwd(factor):
        def of(x, dy):
            s = jax.nn.sigmoid(x)
            return (dy * s * (1 + factor * x * (1 - s)),)

        return of

    for factor, ok in ((1.0, True), (1.01, False)):
        silu.defvjp(lambda x: (x * jax.nn.sigmoid(x), x), bwd(factor))
        report = verify_rule(silu, ref=jax.nn.silu, args=[Float("N D")], framework="jax")
        assert bool(report.failures) is not ok


def test_residuals_on_request_are_constants():
    """with_residuals gives what forward computed, under no_grad, autograd and compile alike."""
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    y, (mu, rstd) = RULE.with_residuals(x, None, None)
    assert not mu.requires_grad
    assert torch.allclose(mu, x.detach().mean(-1, keepdim=True))
    compiled = torch.compile(
        lambda x: RULE.with_residuals(x, None, None), fullgraph=True, backend="aot_eager"
    )
    again, (_, rstd_again) = compiled(x)
    assert torch.allclose(again, y)
    assert torch.allclose(rstd_again, rstd)
    weights = torch.arange(15.0, dtype=torch.float64).reshape(3, 5)
    (want,) = torch.autograd.grad((y * weights).sum(), x)
    assert torch.allclose(torch.autograd.grad((again * weights).sum(), x)[0], want)
    with torch.no_grad():
        assert torch.equal(RULE.with_residuals(x, None, None)[1][1], rstd)


def test_residuals_on_request_in_jax():
    jax = pytest.importorskip("jax")
    from bpx_jax import RULES as jax_rules

    rule = jax_rules["layer_norm"]
    x = jax.random.normal(jax.random.key(0), (3, 5))
    y, (mu, _) = jax.jit(lambda x: rule.with_residuals(x, None, None))(x)
    assert jax.numpy.allclose(mu, x.mean(-1, keepdims=True))
    assert jax.numpy.allclose(y, rule(x, None, None))
    through = jax.grad(lambda x: rule.with_residuals(x, None, None)[1][0].sum())(x)
    assert not through.any(), "a gradient flowed through a residual"


def test_a_wrong_rule_through_every_leg_is_reported():
    """Each leg says what it found; none of them stops the others."""
    from bpx.verify import Report, verify_op

    def backward(*args, **options):
        dx, *rest = PLAIN.backward(*args, **options)
        return (1.5 * dx, *rest)

    rule = RULE.with_plain(Kernel("plain", PLAIN.forward, backward, PLAIN.tangent))
    failed = {f.leg for f in Report(verify_op(rule, RUNNER, ("float64",))).failures}
    assert {"backward", "autodiff", "own", "fd", "structure"} <= failed
