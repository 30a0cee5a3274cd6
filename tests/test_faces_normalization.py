"""The normalisations under torch's names against torch; their running statistics; large
means."""

import copy
import importlib
import inspect

import numpy as np
import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch._functional_normalization")
nn = importlib.import_module("bpx_torch._nn_normalization")

FUNCTIONS = "rms_norm group_norm batch_norm instance_norm".split()
SHAPES = {1: (4, 3, 5), 2: (4, 3, 5, 2), 3: (2, 3, 5, 2, 3)}
MODULES = [f"{kind}Norm{n}d" for kind in ("Batch", "Instance") for n in SHAPES]
RUNNING = {
    "plain": {},
    "not affine": {"affine": False},
    "affine": {"affine": True},
    "no bias": {"affine": True, "bias": False},
    "tracking": {"track_running_stats": True, "momentum": 0.3},
    "no tracking": {"track_running_stats": False, "eps": 0.2},
    "cumulative": {"track_running_stats": True, "momentum": None, "affine": True},
}


def parameters(f):
    return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]


def randn(*shape, seed=3, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(got, want, limit=1e-12):
    torch.testing.assert_close(got, want, rtol=limit, atol=limit)


def pulled(f, inputs):
    """Value, and the gradient of every input, for a random cotangent."""
    leaves = [None if a is None else a.clone().requires_grad_() for a in inputs]
    y = f(*leaves)
    wanted = [a for a in leaves if a is not None]
    return (y, *torch.autograd.grad(y, wanted, randn(*y.shape, seed=5).to(y.dtype)))


def both(name, options):
    """The same module with random parameters in bpx and in torch."""
    ours = getattr(nn, name)(**options, dtype=torch.float64)
    for i, p in enumerate(ours.parameters()):
        torch.nn.init.normal_(p, generator=torch.Generator().manual_seed(i))
    theirs = getattr(torch.nn, name)(**options, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    assert repr(ours) == repr(theirs)
    return ours, theirs


def run(module, x):
    x = x.clone().requires_grad_()
    y = module(x)
    dy = randn(*y.shape, seed=5, dtype=y.dtype)
    return (y, *torch.autograd.grad(y, [x, *module.parameters()], dy))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_signature(name):
    assert parameters(getattr(functional, name)) == parameters(getattr(F, name))


@pytest.mark.parametrize("name", [*MODULES, "RMSNorm", "GroupNorm"])
def test_module_signature(name):
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    assert issubclass(ours, theirs)
    assert parameters(ours) == parameters(theirs)
    assert parameters(ours.forward) == parameters(theirs.forward)


@pytest.mark.parametrize("shape", [(5,), (3, 5)])
@pytest.mark.parametrize("eps", [None, 0.3])
@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm(shape, eps, affine):
    options = {"normalized_shape": shape, "eps": eps, "elementwise_affine": affine}
    ours, theirs = both("RMSNorm", options)
    for scale in (1, 1e-8):  # eps=None shows at 1e-8
        close(run(ours, scale * randn(2, 3, 5)), run(theirs, scale * randn(2, 3, 5)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_eps_is_of_float32(dtype):
    x = (1e-4 * randn(3, 7)).to(dtype)
    u = torch.finfo(dtype).eps
    torch.testing.assert_close(
        functional.rms_norm(x, (7,)), F.rms_norm(x, (7,)), rtol=4 * u, atol=0
    )


def test_rms_norm_refuses():
    x = randn(2, 3, 5)
    with pytest.raises(SpecError, match=r"rms_norm: normalized_shape is \(3,\), expected the last"):
        functional.rms_norm(x, (3,))
    with pytest.raises(SpecError, match=r"rms_norm: weight has shape \(15,\), expected \(3, 5\)"):
        functional.rms_norm(x, (3, 5), randn(15))


@pytest.mark.parametrize("options", [{}, {"eps": 0.3}, {"affine": False}, {"bias": False}])
def test_group_norm(options):
    if "bias" in options and "bias" not in inspect.signature(torch.nn.GroupNorm).parameters:
        pytest.skip("torch's has no option bias")
    ours, theirs = both("GroupNorm", {"num_groups": 3, "num_channels": 6, **options})
    for shape in ((4, 6), (2, 6, 5), (2, 6, 4, 5)):
        close(run(ours, randn(*shape)), run(theirs, randn(*shape)))


@pytest.mark.parametrize("name", FUNCTIONS[1:])
def test_channels_last_is_kept(name):
    x = randn(2, 6, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    extra = {"group_norm": (3,), "batch_norm": (None, None, None, None, True)}.get(name, ())
    y = getattr(functional, name)(x, *extra)
    dy = randn(2, 6, 4, 5).to(memory_format=torch.channels_last)
    (dx,) = torch.autograd.grad(y, x, dy)
    for a in (y, dx):
        assert a.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("options", RUNNING.values(), ids=RUNNING)
@pytest.mark.parametrize("name", MODULES)
def test_running(name, options):
    """Three training steps, then inference: values, gradients, and every buffer after each."""
    if set(options) - set(inspect.signature(getattr(torch.nn, name)).parameters):
        pytest.skip("this torch has no such option")
    ours, theirs = both(name, {"num_features": 3, **options})
    shape = SHAPES[int(name[-2])]
    for step in range(5):
        for module in (ours, theirs):
            module.train(step < 3)
        x = 2 * randn(*shape, seed=step) + 1
        close(run(ours, x), run(theirs, x))
        close(ours.state_dict(), theirs.state_dict())


def test_batch_norm_without_places():
    ours, theirs = both("BatchNorm1d", {"num_features": 3})
    close(run(ours, randn(4, 3)), run(theirs, randn(4, 3)))
    close(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("name", MODULES[3:])
def test_instance_norm_without_batch(name):
    ours, theirs = both(name, {"num_features": 3, "affine": True})
    x = randn(*SHAPES[int(name[-2])][1:])
    close(run(ours, x), run(theirs, x))


def test_refused():
    for name, shape in (("BatchNorm1d", (1, 3)), ("BatchNorm1d", (1, 3, 1))):
        with pytest.raises(SpecError, match="has 1 value for each channel, expected more"):
            getattr(nn, name)(3)(randn(*shape, dtype=torch.float32))
    with pytest.raises(SpecError, match="has 1 value for each channel, expected more"):
        nn.InstanceNorm1d(3)(randn(2, 3, 1))
    with pytest.raises(SpecError, match="running_mean or running_var is None, expected both"):
        functional.batch_norm(randn(2, 3), None, None)
    with pytest.raises(SpecError, match="has 4 channels, expected num_features=3"):
        nn.InstanceNorm1d(3, affine=True)(randn(2, 4, 5))
    with pytest.raises(ValueError, match="expected 4D input"):
        nn.BatchNorm2d(3)(randn(2, 3, 5))


def test_an_empty_batch_moves_nothing():
    module = nn.BatchNorm1d(3)
    before = copy.deepcopy(dict(module.named_buffers()))
    assert module(torch.empty(0, 3)).shape == (0, 3)
    assert torch.equal(module.running_var, before["running_var"])
    assert torch.equal(module.running_mean, before["running_mean"])


def test_a_step_between_inference_and_its_backward():
    module = nn.BatchNorm1d(3, dtype=torch.float64)
    x = randn(4, 3).requires_grad_()
    y = module.eval()(x)
    module.train()(x.detach())
    (dx,) = torch.autograd.grad(y, x, randn(4, 3, seed=5))
    close(dx, randn(4, 3, seed=5) / np.sqrt(1 + 1e-5))


@pytest.mark.parametrize("scale", [0.0, 1e-4])
def test_running_var_of_a_small_variance(scale):
    """Kept as such, not recovered from 1 / sqrt(var + eps), which has lost it in float32."""
    x = 0.5 + scale * randn(8, 3, dtype=torch.float32)
    module = nn.BatchNorm1d(3, momentum=1.0)
    module(x)
    want = x.double().var(0).float()
    torch.testing.assert_close(module.running_var, want, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", FUNCTIONS[1:])
def test_a_large_mean_keeps_its_digits(name):
    """Mean 1e4, deviation 1 in float32, against float64 at the same inputs: the mean is rounded by
    at most 1e4 u, which moves xhat, and with it the gradient, by as much of 1."""
    x = (randn(8, 4, 6, 6) + 1e4).float()
    extra = {"group_norm": (2,), "batch_norm": (None, None, None, None, True)}.get(name, ())
    got, want = (
        pulled(lambda a: getattr(functional, name)(a, *extra), [a]) for a in (x, x.double())
    )
    limit = 1e4 * 2.0**-24
    for g, w in zip(got, want, strict=True):
        assert (g - w).abs().max() <= 4 * limit * w.abs().max()


def test_second_derivative_and_forward_mode_in_inference():
    x, weight, bias = randn(4, 3, 2), randn(3, seed=6), randn(3, seed=7)
    mean, var = randn(3, seed=8), randn(3, seed=9).square() + 0.1
    leaves = [a.requires_grad_() for a in (x, weight, bias, mean, var)]

    def f(x, weight, bias, mean, var):
        return functional.batch_norm(x, mean, var, weight, bias)

    assert torch.autograd.gradgradcheck(f, leaves)
    assert torch.autograd.gradcheck(f, leaves, check_forward_ad=True)


def test_compiled():
    module = nn.BatchNorm2d(3, momentum=None)
    other = copy.deepcopy(module)
    f = torch.compile(module, fullgraph=True, backend="aot_eager")
    for step in range(3):
        x = randn(4, 3, 5, 2, seed=step, dtype=torch.float32)
        torch.testing.assert_close(f(x), other(x))
        torch.testing.assert_close(module.state_dict(), other.state_dict())
