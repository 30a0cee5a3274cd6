"""Profiles of initializers, and of the first values of layers, against the draws of the library
each is named after: mean, deviation and largest value."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("flax")

from flax import nnx

from bpx.profiles import TABLE
from bpx.spec import SpecError
from bpx_jax import initializers as J
from bpx_jax import nn as modules
from bpx_torch import functional
from bpx_torch import init as T
from bpx_torch import nn as N
from tests.libraries import keras, lenient

pytestmark = pytest.mark.slow

SHAPE = (200, 500)  # 100 000 numbers; unequal, so that the two fans differ by 2.5
INITIALIZERS = [
    "uniform",
    "normal",
    "truncated_normal",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
]


def same_law(got, want):
    """Deviations of n draws differ by 1 / sqrt(n) of them at most, a dozen times over, and where a
    law ends both have come as near to its end."""
    got, want = (np.asarray(a, np.float64).ravel() for a in (got, want))
    std, loose = want.std(), 12 / np.sqrt(want.size)
    assert abs(got.std() - std) <= loose * std
    assert abs(got.mean() - want.mean()) <= loose * std
    ends = [np.abs(a - want.mean()).max() / max(std, 1e-30) for a in (got, want)]
    if min(ends) < 2.6:  # a bound, 2 / 0.88 sigma the widest; 100 000 normals reach 4
        assert abs(ends[0] - ends[1]) < 0.02 * ends[1]
    else:
        assert min(ends) > 3.3


def of_library(entry, profile):
    name = TABLE[entry][profile].name
    if profile == "torch":
        return getattr(torch.nn.init, name)(torch.empty(SHAPE)).numpy()
    if profile == "keras":
        return getattr(keras.initializers, name)(seed=3)(SHAPE)
    make = getattr(jax.nn.initializers, name)
    return make()(jax.random.key(3), SHAPE, np.float32)


CASES = [(e, p) for e in INITIALIZERS for p in TABLE[e]]


@pytest.mark.parametrize(("entry", "profile"), CASES, ids=str)
def test_initializers(entry, profile):
    with lenient():
        want = np.asarray(of_library(entry, profile))
    make = getattr(J, entry)
    same_law(make(profile=profile)(7, SHAPE, np.float32), want)
    name = "trunc_normal_" if entry == "truncated_normal" else f"{entry}_"
    if hasattr(T, name):
        # a torch tensor lies the other way round: (out, in)
        turned = profile != "torch"
        tensor = torch.empty(SHAPE[::-1] if turned else SHAPE)
        same_law(getattr(T, name)(tensor, profile=profile, key=5), want)


def test_variance_scaling_of_keras():
    want = keras.initializers.VarianceScaling(seed=1)(SHAPE)
    same_law(J.variance_scaling(profile="keras")(7, SHAPE, np.float32), want)
    with pytest.raises(SpecError, match="variance_scaling: scale is not given, expected a value"):
        J.variance_scaling(profile="flax")
    with pytest.raises(SpecError, match=r"lecun_normal: profile is 'torch', expected one of"):
        J.lecun_normal(profile="torch")


def test_a_profile_is_a_law_of_its_own():
    """The same key: so that a profile that is not heard is seen."""
    for entry in ("uniform", "normal", "truncated_normal", "xavier_normal", "kaiming_normal"):
        drawn = [np.asarray(getattr(J, entry)(profile=p)(7, (5, 9))) for p in TABLE[entry]]
        laws = {str(p.options) for p in TABLE[entry].values()}
        assert len({a.tobytes() for a in drawn}) == len(laws) > 1


# (bpx_torch's, bpx_jax's, flax's, keras's with the shape it is built for)
LAYERS = {
    "linear": (
        lambda p: N.Linear(200, 500, profile=p),
        lambda p: modules.Linear(200, 500, profile=p),
        lambda: nnx.Linear(200, 500, rngs=nnx.Rngs(0)),
        lambda: (keras.layers.Dense(500), (1, 200)),
    ),
    "conv": (
        lambda p: N.Conv2d(40, 120, (3, 5), profile=p),
        lambda p: modules.Conv(40, 120, (3, 5), profile=p),
        lambda: nnx.Conv(40, 120, (3, 5), rngs=nnx.Rngs(0)),
        lambda: (keras.layers.Conv2D(120, (3, 5)), (1, 8, 8, 40)),
    ),
    "conv_transpose": (
        lambda p: N.ConvTranspose2d(40, 120, (3, 5), profile=p),
        lambda p: modules.ConvTranspose(40, 120, (3, 5), profile=p),
        lambda: nnx.ConvTranspose(40, 120, (3, 5), rngs=nnx.Rngs(0)),
        lambda: (keras.layers.Conv2DTranspose(120, (3, 5)), (1, 8, 8, 40)),
    ),
    "embedding": (
        lambda p: N.Embedding(500, 200, profile=p),
        lambda p: modules.Embedding(500, 200, profile=p),
        lambda: nnx.Embed(500, 200, rngs=nnx.Rngs(0)),
        lambda: (keras.layers.Embedding(500, 200), (1,)),
    ),
}


@pytest.mark.parametrize("profile", ["flax", "keras"])
@pytest.mark.parametrize("entry", LAYERS)
def test_first_values_of_layers(entry, profile):
    ours, record, of_flax, of_keras = LAYERS[entry]
    with lenient():
        if profile == "flax":
            layer = of_flax()
            want = layer.embedding if entry == "embedding" else layer.kernel
            want = want[...]
        else:
            layer, shape = of_keras()
            layer.build(shape)
            want = layer.weights[0].value
    torch.manual_seed(1)
    for found in (ours(profile).state_dict(), record(profile).init(3)):
        same_law(found["weight"], want)
        assert "bias" not in found or not np.asarray(found["bias"]).any()


@pytest.mark.parametrize(("profile", "slope"), [("torch", 0.25), ("flax", 0.01), ("keras", 0.0)])
def test_first_slope_of_prelu(profile, slope):
    assert N.PReLU(profile=profile).weight.item() == pytest.approx(slope)
    if profile == "flax":
        assert nnx.PReLU().negative_slope[...] == pytest.approx(slope)
    if profile == "keras":
        layer = keras.layers.PReLU()
        layer.build((1, 3))
        assert not np.asarray(layer.weights[0].value).any()


def test_padding_of_conv():
    assert N.Conv2d(3, 4, 3, profile="flax").padding == "same"
    assert N.Conv2d(3, 4, 3, padding=1, profile="flax").padding == (1, 1)
    assert N.Conv2d(3, 4, 3, profile="keras").padding == (0, 0)
    x, w = np.ones((1, 3, 7, 8), np.float32), np.ones((4, 3, 3, 2), np.float32)
    with lenient():
        layer = nnx.Conv(3, 4, (3, 2), rngs=nnx.Rngs(0), use_bias=False)
        layer.kernel.set_value(jax.numpy.asarray(w.transpose(2, 3, 1, 0)))
        want = np.moveaxis(np.asarray(layer(jax.numpy.asarray(np.moveaxis(x, 1, -1)))), -1, 1)
    np.testing.assert_array_equal(modules.conv(x, w, profile="flax"), want)
    y = functional.conv2d(torch.tensor(x), torch.tensor(w), profile="flax")
    np.testing.assert_array_equal(y, want)


def test_a_profile_is_part_of_a_record():
    """Two layers that draw otherwise are not one to jit."""
    assert modules.Linear(3, 4, profile="keras") != modules.Linear(3, 4)
    assert modules.LayerNorm(3, profile="keras") == modules.LayerNorm(3, eps=1e-3)
    assert modules.Conv(3, 4, (3, 3), profile="flax").padding == "SAME"
    assert modules.Dropout(profile="torch").p == 0.5
    with pytest.raises(SpecError, match="dropout: p is not given"):
        modules.Dropout(profile="flax")
