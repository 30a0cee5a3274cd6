"""Rules that differ from the derivative on purpose: special values, faces, and networks trained by
them."""

import importlib

import numpy as np
import pytest

import bpx
from bpx.spec import SpecError

torch = pytest.importorskip("torch")

from bpx_torch import nn, surrogate

ELEMENTWISE = [s for s in bpx.ALL if s.surrogate and s.elementwise]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1.0, -1.0, 1e30, -1e-30]


def both(name, x, dy, **options):
    """(y, dx) of a rule in torch and in JAX."""
    jax = pytest.importorskip("jax")
    t = torch.tensor(x, requires_grad=True)
    y = torch_rules()[name](t, **options)
    yield y.detach().numpy(), torch.autograd.grad(y, t, torch.tensor(dy))[0].numpy()
    rule = importlib.import_module("bpx_jax").RULES[name]
    y, pulled = jax.vjp(lambda x: rule(x, **options), jax.numpy.asarray(x))
    yield np.asarray(y), np.asarray(pulled(jax.numpy.asarray(dy))[0])


def torch_rules():
    return importlib.import_module("bpx_torch").RULES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", ELEMENTWISE, ids=lambda s: s.name)
def test_nan_infinities_and_ties(spec, dtype):
    """The same value and the same gradient in the three trees."""
    x = np.array(SPECIAL, dtype)
    dy = np.linspace(-1.5, 2.0, x.size).astype(dtype)
    options = spec.complete({})
    with np.errstate(all="ignore"):
        want = (
            spec.forward(x.astype(np.float64), **options)[0],
            spec.backward(dy.astype(np.float64), x.astype(np.float64), **options)[0],
        )
    for got in both(spec.name, x, dy):
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("straight_through_sign", [1, 1, -1, 1]),
        ("straight_through_round", [0, 0, -2, 2]),
        ("straight_through_binarize", [1, 1, 0, 1]),
        ("spike_arctan", [1, 1, 0, 1]),
    ],
)
def test_ties_by_number(name, want):
    for y, _ in both(name, np.array([0.0, -0.0, -1.5, 2.5]), np.ones(4)):
        np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clip_norm_of_extreme_gradients(dtype):
    """Squares that would overflow or vanish; NaN and infinity, each in its own row."""
    big = 1e30 if dtype == "float32" else 1e300
    dy = np.array([[3, 4], [3 * big, 4 * big], [0, 0], [np.nan, 1], [np.inf, 1], [3 / big, 0]])
    dy = dy.astype(dtype)
    want = [[0.6, 0.8], [0.6, 0.8], [0, 0], [np.nan] * 2, [np.nan] * 2, [3 / big, 0]]
    for _, dx in both("gradient_clip_norm", np.zeros_like(dy), dy, dim=1):
        np.testing.assert_allclose(dx, want, rtol=1e-6)
    with np.errstate(all="ignore"):
        spec = next(s for s in bpx.ALL if s.name == "gradient_clip_norm")
        (dx,) = spec.backward(dy, np.zeros_like(dy), max_norm=1.0, dim=1)
    np.testing.assert_allclose(dx, want, rtol=1e-6)


MODULES = {
    "StraightThroughSign": [(), (1.0,)],
    "StraightThroughRound": [(), (2.0,)],
    "StraightThroughBinarize": [(), (0.25, 1.0)],
    "SpikeFastSigmoid": [(), (2.0,)],
    "SpikeArctan": [(), (3.0,)],
    "SpikeTriangular": [(), (2.0, 0.3)],
    "GradientReversal": [(), (0.1,)],
    "GradientScale": [(0.1,)],
    "GradientClipValue": [(), (0.1,)],
    "GradientClipNorm": [(), (0.1, -1)],
}
CALLS = {
    "StraightThroughSign": lambda x, clip=None: (
        surrogate.straight_through_sign(x)
        if clip is None
        else surrogate.clipped_straight_through_sign(x, clip=clip)
    ),
    "StraightThroughRound": lambda x, clip=None: (
        surrogate.straight_through_round(x)
        if clip is None
        else surrogate.clipped_straight_through_round(x, clip=clip)
    ),
    "StraightThroughBinarize": lambda x, threshold=0.0, clip=None: (
        surrogate.straight_through_binarize(x, threshold=threshold)
        if clip is None
        else surrogate.clipped_straight_through_binarize(x, threshold=threshold, clip=clip)
    ),
    "SpikeFastSigmoid": lambda x, slope=25.0: surrogate.spike_fast_sigmoid(x, slope=slope),
    "SpikeArctan": lambda x, alpha=2.0: surrogate.spike_arctan(x, alpha=alpha),
    "SpikeTriangular": lambda x, width=1.0, height=1.0: surrogate.spike_triangular(
        x, width=width, height=height
    ),
    "GradientReversal": lambda x, factor=1.0: surrogate.gradient_reversal(x, factor=factor),
    "GradientScale": lambda x, factor=1.0: surrogate.gradient_scale(x, factor=factor),
    "GradientClipValue": lambda x, c=1.0: surrogate.gradient_clip_value(x, clip_value=c),
    "GradientClipNorm": lambda x, m=1.0, dim=None: surrogate.gradient_clip_norm(
        x, max_norm=m, dim=dim
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    for args in MODULES[name]:
        module = getattr(nn, name)(*args)
        assert all(str(a) in repr(module) for a in args)
        found = []
        for f in (module, lambda x, args=args: CALLS[name](x, *args)):
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
            y = f(x)
            dy = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
            found.append((y, *torch.autograd.grad(y, x, dy)))
        for a, b in zip(*found, strict=True):
            assert torch.equal(a, b)


def test_feedback_is_kept_and_never_trained():
    linear = nn.LinearFeedbackAlignment(5, 3)
    assert list(linear.state_dict()) == ["weight", "bias", "feedback"]
    assert [name for name, _ in linear.named_parameters()] == ["weight", "bias"]
    assert not torch.equal(linear.feedback, linear.weight)
    x = torch.randn(4, 5, requires_grad=True)
    dy = torch.randn(4, 3)
    dx, dweight = torch.autograd.grad(linear(x), (x, linear.weight), dy)
    assert torch.allclose(dx, dy @ linear.feedback)
    assert torch.allclose(dweight, dy.T @ x.detach(), atol=1e-6)
    symmetric = nn.LinearSignSymmetric(5, 3, scale=0.3)
    (dx,) = torch.autograd.grad(symmetric(x), x, dy)
    assert torch.allclose(dx, 0.3 * dy @ symmetric.weight.sign())
    assert "scale=0.3" in repr(symmetric)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_convolutions(n):
    """The gradient of x is the exact rule's at the feedback, or at the signs."""
    x = torch.randn(2, 4, *range(5, 5 + n), dtype=torch.float64, requires_grad=True)
    options = {"stride": 2, "padding": 1, "groups": 2, "dtype": torch.float64}
    exact = getattr(nn, f"Conv{n}d")(4, 6, 3, **options)
    feedback = getattr(nn, f"Conv{n}dFeedbackAlignment")(4, 6, 3, **options)
    signs = getattr(nn, f"Conv{n}dSignSymmetric")(4, 6, 3, scale=0.3, **options)
    assert list(feedback.state_dict()) == ["weight", "bias", "feedback"]
    for module, back in ((feedback, feedback.feedback), (signs, 0.3 * signs.weight.sign())):
        exact.load_state_dict({"weight": back, "bias": module.bias})
        y = module(x)
        dy = torch.randn_like(y)
        (want,) = torch.autograd.grad(exact(x), x, dy)
        torch.testing.assert_close(torch.autograd.grad(y, x, dy)[0], want)
        own = torch.nn.functional.__dict__[f"conv{n}d"]
        torch.testing.assert_close(y, own(x, module.weight, module.bias, 2, 1, 1, 2))


def test_convolution_pads_with_zeros_alone():
    module = nn.Conv1dSignSymmetric(2, 3, 3, padding=1, padding_mode="reflect")
    with pytest.raises(SpecError, match="padding_mode is 'reflect', expected one of"):
        module(torch.randn(2, 2, 5))


def test_direct_feedback_module():
    module = nn.DirectFeedbackAlignment(3, 4, 10)
    y = torch.randn(2, 3, requires_grad=True)
    h1 = torch.randn(2, 4, requires_grad=True)
    h2 = torch.randn(2, 5, 2, requires_grad=True)
    dy = torch.randn(2, 3)
    found = torch.autograd.grad(module(y, h1, h2), (y, h1, h2), dy)
    assert torch.equal(found[0], dy)
    assert torch.allclose(found[1], dy @ module.feedback1)
    assert torch.allclose(found[2], (dy @ module.feedback2).reshape(2, 5, 2))
    assert not list(module.parameters())
    with pytest.raises(SpecError, match="got 1 hidden layers, expected 2"):
        module(y, h1)
