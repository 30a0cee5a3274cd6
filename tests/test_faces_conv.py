"""The convolutions under torch's names, and with JAX's dimension numbers, against the libraries."""

import importlib
import inspect
import warnings

import numpy as np
import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch.functional")
nn = importlib.import_module("bpx_torch.nn")

SIZES = {1: (7,), 2: (7, 6), 3: (5, 4, 6)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 1, 3)}


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def compare(ours, theirs, inputs, *args, **options):
    """Values, and gradients with a random cotangent, of two functions; memory formats too."""
    results = []
    for f in (ours, theirs):
        leaves = [a.detach().requires_grad_() for a in inputs]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using padding='same'")
            y = f(*leaves, *args, **options)
        dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
        dy = dy.to(memory_format=format_of(y))
        results.append((y, *torch.autograd.grad(y, leaves, dy)))
    limit = 1e-12 if y.dtype == torch.float64 else 1e-4
    torch.testing.assert_close(*results, rtol=limit, atol=limit)
    return results


def format_of(a):
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(a.ndim)
    if last is not None and a.is_contiguous(memory_format=last) and not a.is_contiguous():
        return last
    return torch.contiguous_format


def given(f):
    """Torch's parameters: of a builtin from its operator's schema."""
    overloads = getattr(torch.ops.aten, f.__name__)
    return [a.name for a in getattr(overloads, overloads.overloads()[0])._schema.arguments]


CONV = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": [3], "padding": 2, "dilation": 2},
    {"padding": "same", "dilation": 3},
    {"padding": "valid", "groups": 2},
]
TRANSPOSE = [
    {},
    {"stride": 3, "padding": 1, "output_padding": 2},
    {"stride": [2], "groups": 2, "dilation": 3, "output_padding": 2},
]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("options", CONV, ids=str)
def test_conv(n, options):
    name = f"conv{n}d"
    ours, theirs = getattr(functional, name), getattr(F, name)
    assert list(inspect.signature(ours).parameters) == given(theirs)
    x = randn(2, 4, *(s + 2 for s in SIZES[n]))
    weight, bias = randn(6, 4 // options.get("groups", 1), *KERNELS[n]), randn(6)
    compare(ours, theirs, (x, weight, bias), **options)
    compare(ours, theirs, (x[0], weight), **options)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("options", TRANSPOSE, ids=str)
def test_conv_transpose(n, options):
    name = f"conv_transpose{n}d"
    ours, theirs = getattr(functional, name), getattr(F, name)
    assert list(inspect.signature(ours).parameters) == given(theirs)
    x, weight = randn(2, 4, *SIZES[n]), randn(4, 3, *KERNELS[n])
    bias = randn(3 * options.get("groups", 1))
    compare(ours, theirs, (x, weight, bias), **options)
    compare(ours, theirs, (x[1], weight), **options)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "conv3d", "conv_transpose3d"])
@pytest.mark.parametrize("which", [(True, False), (False, True), (True, True)], ids=str)
def test_channels_last_is_kept(name, which):
    n = int(name[-2])
    # torch keeps it in every dtype but float64 in three dimensions
    inputs = [randn(2, 4, *SIZES[n]).float(), randn(4, 4, *KERNELS[n]).float()]
    last = {2: torch.channels_last, 3: torch.channels_last_3d}[n]
    inputs = [a.to(memory_format=last) if w else a for a, w in zip(inputs, which, strict=True)]
    ours, theirs = compare(getattr(functional, name), getattr(F, name), inputs, stride=2)
    for a, b in zip(ours, theirs, strict=True):
        assert a.stride() == b.stride()


def test_no_rows():
    ours, theirs = functional.conv2d, F.conv2d
    compare(ours, theirs, (randn(0, 4, 7, 6), randn(3, 4, 3, 2), randn(3)), padding=1)
    compare(functional.conv_transpose1d, F.conv_transpose1d, (randn(0, 4, 7), randn(4, 3, 3)))


MODULES = [
    ("Conv1d", (4, 6, 3), {"padding": "same", "padding_mode": "circular"}),
    ("Conv2d", (4, 6, (3, 2)), {"stride": 2, "groups": 2, "bias": False}),
    ("Conv2d", (4, 6, 3), {"padding": (2, 1), "padding_mode": "reflect", "dilation": 2}),
    ("Conv3d", (4, 2, (2, 1, 3)), {"padding": 1, "padding_mode": "replicate"}),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"groups": 2, "bias": False}),
    ("ConvTranspose3d", (4, 2, 2), {"padding": 1, "stride": (2, 1, 3)}),
]


@pytest.mark.parametrize(("name", "args", "options"), MODULES, ids=str)
def test_modules(name, args, options):
    ours, theirs = (getattr(m, name)(*args, **options, dtype=torch.float64) for m in (nn, torch.nn))
    assert isinstance(ours, type(theirs))
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    names = [list(inspect.signature(m.forward).parameters) for m in (ours, theirs)]
    assert names[0] == names[1]
    x = randn(2, 4, *SIZES[int(name[-2])])
    results = []
    for m in (ours, theirs):
        y = m(x)
        dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
        results.append((y, *torch.autograd.grad(y, list(m.parameters()), dy)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def test_output_size():
    ours, theirs = (m.ConvTranspose2d(2, 3, 3, stride=3).double() for m in (nn, torch.nn))
    ours.load_state_dict(theirs.state_dict())
    x = randn(2, 2, 4, 5)
    y = ours(x, output_size=[13, 17])
    assert y.shape == (2, 3, 13, 17)
    torch.testing.assert_close(y, theirs(x, output_size=[13, 17]))


def test_autocast():
    x, weight = torch.randn(2, 4, 7), torch.randn(3, 4, 3).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = functional.conv1d(x, weight)
        assert y.dtype == F.conv1d(x, weight).dtype == torch.bfloat16
    y.square().sum().backward()
    assert weight.grad.dtype == torch.float32


def test_refusals():
    with pytest.raises(SpecError, match=r"conv2d: input has shape \(2, 4\), expected 4 axes"):
        functional.conv2d(randn(2, 4), randn(3, 4, 2, 2))
    with pytest.raises(SpecError, match=r"conv_transpose1d: input has shape .* expected 3 axes"):
        functional.conv_transpose1d(randn(2, 4, 5, 6), randn(4, 3, 2))


def in_jax():
    jax = pytest.importorskip("jax")
    return jax, importlib.import_module("bpx_jax.nn")


def agree(jax, ours, theirs, *inputs):
    """Values and gradients of two JAX functions."""
    (y, back), (want, pull) = (jax.vjp(f, *inputs) for f in (ours, theirs))
    dy = np.random.default_rng(5).standard_normal(y.shape)
    for got, right in zip((y, *back(dy)), (want, *pull(dy)), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (1, 3))], ids=str)
@pytest.mark.parametrize("layout", [("NHWC", "HWIO", "NHWC"), ("HWNC", "OIHW", "NCHW"), None])
def test_jax_conv(layout, padding):
    jax, jnn = in_jax()
    rng = np.random.default_rng(3)
    shapes = {"N": 2, "C": 4, "H": 7, "W": 6}, {"I": 2, "O": 6, "H": 3, "W": 2}
    letters = layout or ("NCHW", "OIHW", "NCHW")
    x, w = (
        jax.numpy.asarray(rng.standard_normal([of[c] for c in names]))
        for of, names in zip(shapes, letters, strict=False)
    )
    agree(
        jax,
        lambda x, w: jnn.conv(
            x, w, stride=(2, 3), padding=padding, dilation=2, groups=2, dimension_numbers=layout
        ),
        lambda x, w: jax.lax.conv_general_dilated(
            x,
            w,
            (2, 3),
            padding,
            rhs_dilation=(2, 2),
            dimension_numbers=layout,
            feature_group_count=2,
        ),
        x,
        w,
    )


def test_jax_conv_transpose():
    jax, jnn = in_jax()
    rng = np.random.default_rng(3)
    x, w = (jax.numpy.asarray(rng.standard_normal(s)) for s in ((2, 5, 4), (3, 4, 6)))
    layout = ("NHC", "HIO", "NHC")
    agree(
        jax,
        lambda x, w: jnn.conv_transpose(x, w, stride=2, dimension_numbers=layout),
        lambda x, w: jax.lax.conv_transpose(
            x, jax.numpy.flip(w, 0), (2,), "VALID", dimension_numbers=layout
        ),
        x,
        w,
    )
    one = jnn.conv_transpose(x[0].T, w.transpose(1, 2, 0), stride=[2])
    np.testing.assert_allclose(
        one, jnn.conv_transpose(x, w, stride=2, dimension_numbers=layout)[0].T, rtol=1e-12
    )


def test_jax_refusals():
    jax, jnn = in_jax()
    x, w = jax.numpy.zeros((2, 4, 7)), jax.numpy.zeros((3, 4, 2))
    with pytest.raises(SpecError, match=r"expected an integer, 1 of them, or 1 pairs"):
        jnn.conv(x, w, padding=((1, 1), (0, 0)))
    with pytest.raises(SpecError, match="x has 2 axes, expected the 3 of weight"):
        jnn.conv(x[0], w, dimension_numbers=("NCH", "OIH", "NCH"))
