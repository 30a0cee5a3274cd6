"""The pools and the resizing under torch's names against torch."""

import importlib
import inspect

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch.functional")
nn = importlib.import_module("bpx_torch.nn")

SIZES = {1: (7,), 2: (6, 5), 3: (4, 6, 5)}
WINDOWS = (
    {"kernel_size": 2},
    {"kernel_size": [3], "stride": 2, "padding": 1, "ceil_mode": True},
)
OUTPUTS = {1: (3, 1), 2: (3, (4, None), 1), 3: ((3, None, 2), 2)}


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def compare(ours, theirs, x):
    """Values, and the gradient with a random cotangent, of two functions of one tensor."""
    results = []
    for f in (ours, theirs):
        leaf = x.detach().clone().requires_grad_()
        y, *rest = y if isinstance(y := f(leaf), tuple) else (y,)
        dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
        results.append((y, *rest, *torch.autograd.grad(y, [leaf], dy)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def check(name, n, *args, **options):
    """With a batch axis and without."""
    ours, theirs = getattr(functional, name), getattr(F, name)
    for lead in ((2, 3), (3,)):
        x = randn(*lead, *SIZES[n])
        compare(lambda a: ours(a, *args, **options), lambda a: theirs(a, *args, **options), x)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("how", WINDOWS)
def test_max_pool(n, how):
    check(f"max_pool{n}d", n, **how)
    check(f"max_pool{n}d", n, **how, return_indices=True)
    check(f"max_pool{n}d", n, **how, dilation=2)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("how", WINDOWS)
def test_avg_pool(n, how):
    check(f"avg_pool{n}d", n, **how)
    check(f"avg_pool{n}d", n, **how, count_include_pad=False)
    if n > 1:
        check(f"avg_pool{n}d", n, **how, divisor_override=5)


@pytest.mark.parametrize("n", SIZES)
def test_adaptive(n):
    for output_size in OUTPUTS[n]:
        check(f"adaptive_avg_pool{n}d", n, output_size)
        check(f"adaptive_max_pool{n}d", n, output_size)
        check(f"adaptive_max_pool{n}d", n, output_size, return_indices=True)


@pytest.mark.parametrize("name", ["MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool"])
@pytest.mark.parametrize("n", SIZES)
def test_module(name, n):
    ours, theirs = getattr(nn, f"{name}{n}d"), getattr(torch.nn, f"{name}{n}d")
    assert issubclass(ours, theirs)
    assert inspect.signature(ours) == inspect.signature(theirs)
    options = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    if name.startswith("Adaptive"):
        options = {"output_size": 3}
    if name == "AvgPool":
        options["count_include_pad"] = False
    if "Max" in name:
        options["return_indices"] = True
    assert repr(ours(**options)) == repr(theirs(**options))
    compare(ours(**options), theirs(**options), randn(2, 3, *SIZES[n]))


def test_channels_last():
    x = randn(2, 3, 6, 5).to(memory_format=torch.channels_last)
    for name, args in (("max_pool2d", (3, 2)), ("avg_pool2d", (3, 2)), ("adaptive_avg_pool2d", 4)):
        args = args if isinstance(args, tuple) else (args,)
        f = getattr(functional, name)
        compare(lambda a, f=f, args=args: f(a, *args), lambda a: getattr(F, name)(a, *args), x)  # noqa: B023


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_number_of_axes(name):
    with pytest.raises(SpecError, match=rf"{name}: input has shape \(3, 4\), expected 4 axes"):
        getattr(functional, name)(randn(3, 4), 2)


MODES = {1: ("nearest", "nearest-exact", "linear"), 2: ("nearest", "bilinear"), 3: ("trilinear",)}


@pytest.mark.parametrize(("n", "mode"), [(n, mode) for n in MODES for mode in MODES[n]])
def test_interpolate(n, mode):
    x = randn(2, 3, *SIZES[n])
    corners = (None,) if mode.startswith("nearest") else (None, True)
    for how in ({"size": 9}, {"scale_factor": 1.7}, {"scale_factor": [0.6] * n}):
        for align_corners in corners:
            for again in (None, True) if "scale_factor" in how else (None,):
                options = {
                    **how,
                    "mode": mode,
                    "align_corners": align_corners,
                    "recompute_scale_factor": again,
                }
                ours, theirs = (
                    lambda a, f=f, o=options: f(a, **o)
                    for f in (functional.interpolate, F.interpolate)
                )
                compare(ours, theirs, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearest_positions_are_those_of_torch(dtype):
    """Rounding of the position decides which element is copied."""
    for s in (1, 2, 3, 7, 41, 49):
        x = torch.arange(s, dtype=dtype).reshape(1, 1, s)
        for size in range(1, 130):
            for mode in ("nearest", "nearest-exact"):
                got = functional.interpolate(x, size=size, mode=mode)
                assert torch.equal(got, F.interpolate(x, size=size, mode=mode)), (s, size, mode)
        for factor in (1.0, 1.1, 2.3, 3.0, 41.0):
            got = functional.interpolate(x, scale_factor=factor)
            assert torch.equal(got, F.interpolate(x, scale_factor=factor)), (s, factor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3, "mode": "bicubic"}, r"mode is 'bicubic', expected one of \['nearest'"),
        ({"size": 3, "mode": "bilinear", "antialias": True}, "antialias is True, expected False"),
        ({}, "size is None and scale_factor is None, expected one"),
        ({"size": 3, "mode": "linear"}, "expected 3 axes with mode 'linear'"),
        ({"size": 3, "align_corners": True}, "align_corners is True, expected None"),
        ({"size": 3, "recompute_scale_factor": True}, "recompute_scale_factor is True"),
    ],
)
def test_interpolate_refuses(options, message):
    with pytest.raises(SpecError, match=message):
        functional.interpolate(randn(1, 2, 4, 5), **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Upsample", {"scale_factor": 1.7, "mode": "bilinear", "align_corners": False}),
        ("Upsample", {"size": (3, 9)}),
        ("UpsamplingNearest2d", {"scale_factor": 2}),
        ("UpsamplingBilinear2d", {"size": 9}),
    ],
)
def test_upsampling_modules(name, options):
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert inspect.signature(type(ours)) == inspect.signature(type(theirs))
    assert repr(ours) == repr(theirs)
    compare(ours, theirs, randn(2, 3, 6, 5))


def test_deprecated_names():
    x = randn(2, 3, 6, 5)
    for name in ("upsample", "upsample_nearest", "upsample_bilinear"):
        with pytest.warns(UserWarning, match="deprecated"):
            got = getattr(functional, name)(x, scale_factor=2)
        with pytest.warns(UserWarning, match="deprecated"):
            torch.testing.assert_close(got, getattr(F, name)(x, scale_factor=2))
