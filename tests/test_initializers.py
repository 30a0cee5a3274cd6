"""The initializers: one key gives the same weights in three trees; records, rounding, messages."""

import inspect
import math
import warnings

import numpy as np
import pytest

from bpx import random
from bpx.initializers import ALL, calculate_gain, fans, sample
from bpx.initializers._draw import rounded
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jnp = pytest.importorskip("jax.numpy")

from bpx_jax import initializers as face_jax
from bpx_torch import init as face_torch
from bpx_torch._initializer import rounded as rounded_torch
from bpx_torch.initializers import INITIALIZERS as IN_TORCH
from tests.initializer_laws import shape_of

IN_JAX = face_jax.INITIALIZERS
TRIALS = [pytest.param(s, t, id=f"{s.name}-{t}") for s in ALL for t in s.trials]
DTYPES = ("float64", "float32", "float16", "bfloat16")


def as_numpy(tensor):
    return tensor.to(torch.float64).numpy()


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
def test_record_is_consistent(spec):
    names = [p.name for p in inspect.signature(spec.from_noise).parameters.values()]
    assert names[2:] in (list(spec.options), ["options"])
    for name, default in spec.options.items():
        assert any(t.get(name, default) != default for t in spec.trials), f"{name} is never tried"
    assert list(IN_TORCH) == list(IN_JAX) == [s.name for s in ALL]
    assert IN_TORCH[spec.name].spec is IN_JAX[spec.name].spec is spec


@pytest.mark.parametrize(("spec", "trial"), TRIALS)
def test_same_weights_everywhere(spec, trial):
    shape, key = shape_of(spec, trial), random.key(21)
    options = {}
    for dtype in DTYPES:
        name = jnp.dtype(dtype)
        want = sample(spec, key, shape, name, **trial)
        assert want.dtype == name
        assert want.shape == shape
        in_torch = IN_TORCH[spec.name](key, shape, getattr(torch, dtype), **trial)
        in_jax = IN_JAX[spec.name](jax.random.wrap_key_data(key), shape, dtype, **trial)
        assert in_jax.dtype == name
        assert (as_numpy(in_torch) == want.astype(float)).all()
        assert (np.asarray(in_jax) == want).all()
        options[dtype] = want
    if spec.moments is not None and options["float64"].any():
        assert (sample(spec, 22, shape, np.float32, **trial) != options["float32"]).any()


@pytest.mark.parametrize("spec", [s for s in ALL if s.moments], ids=lambda s: s.name)
def test_traced_keys(spec):
    shape, keys = shape_of(spec, {}), random.split(5, 3)
    typed = jax.random.wrap_key_data(jnp.asarray(keys))

    def init(key):
        return IN_JAX[spec.name](key, shape, jnp.bfloat16)

    want = np.stack([sample(spec, k, shape, jnp.bfloat16) for k in keys])
    assert (np.asarray(jax.jit(init)(typed[0])) == want[0]).all()
    assert (np.asarray(jax.jit(jax.vmap(init))(typed)) == want).all()


@pytest.mark.parametrize("field", [(3,), (3, 5), (4, 2, 3)], ids=str)
def test_dirac_passes_its_input_on(field):
    for groups, out in ((1, 6), (3, 6), (2, 4)):
        w = torch.empty(out, 4, *field)
        want = torch.nn.init.dirac_(w.clone(), groups)
        assert torch.equal(face_torch.dirac_(w, groups), want)
        moved = face_jax.dirac(groups)(None, (*field, 4, out), jnp.float32)
        moved = np.moveaxis(np.asarray(moved), (-1, -2), (0, 1))
        assert (moved == want.numpy()).all()


def test_identity():
    assert torch.equal(face_torch.eye_(torch.empty(5, 7)), torch.eye(5, 7))
    assert (np.asarray(face_jax.identity()(None, (5, 7))) == np.eye(5, 7)).all()


@pytest.mark.parametrize("shape", [(36, 72), (36, 72, 3, 5), (2, 3, 4)], ids=str)
def test_fans(shape):
    assert fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    from jax._src.nn.initializers import _compute_fans

    for axes in ((-2, -1, ()), (0, 1, ()), ((0, 1), -1, ()), (1, 0, -1), (-2, 0, ())):
        assert fans(shape, *axes) == pytest.approx(_compute_fans(shape, *axes), rel=1e-15)


def test_gains():
    for name in ("linear", "conv3d", "conv_transpose2d", "sigmoid", "tanh", "relu", "selu"):
        assert calculate_gain(name) == torch.nn.init.calculate_gain(name)
    for slope in (None, 0, 0.3, -2, math.sqrt(5)):
        want = torch.nn.init.calculate_gain("leaky_relu", slope)
        assert face_torch.calculate_gain("leaky_relu", slope) == want
    for args, message in (
        (("gelu",), "calculate_gain: nonlinearity is 'gelu', expected one of"),
        (("leaky_relu", True), "calculate_gain: param is True, expected a number"),
    ):
        with pytest.raises(SpecError) as caught:
            calculate_gain(*args)
        assert message in str(caught.value)


def halfway(bits):
    """Numbers beside the midpoint of two neighbours with that many bits: float32 hides the side."""
    middle = np.random.default_rng(0).integers(1 << bits, 2 << bits, 500) + 0.5
    return np.concatenate([middle, middle * (1 + 1e-13), middle * (1 - 1e-13), -middle])


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 10), ("bfloat16", 7)])
def test_one_rounding(dtype, bits):
    x = halfway(bits)
    down = np.floor(x)
    up_half = (x - down > 0.5) | ((x - down == 0.5) & (down % 2 == 1))
    want = down + up_half
    assert (rounded(x, jnp.dtype(dtype)).astype(float) == want).all()
    assert (as_numpy(rounded_torch(x, getattr(torch, dtype))) == want).all()
    assert (as_numpy(torch.from_numpy(x).to(getattr(torch, dtype))) != want).any()
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1e300, -1e-300])
    got = rounded(special, jnp.dtype(dtype)).astype(float)
    assert (got == [0, 0, np.inf, -np.inf, np.inf, 0]).all()
    assert (np.signbit(got) == [0, 1, 0, 1, 0, 1]).all()


REJECTS = [pytest.param(s, r, id=f"{s.name}-{r.message[:40]}") for s in ALL for r in s.rejects]


@pytest.mark.parametrize(("spec", "reject"), REJECTS)
def test_rejects(spec, reject):
    shape = reject.shapes["shape"]
    for call in (
        lambda: sample(spec.name, 0, shape, **reject.options),
        lambda: IN_TORCH[spec.name](0, shape, **reject.options),
        lambda: IN_JAX[spec.name](0, shape, **reject.options),
    ):
        with pytest.raises(SpecError) as caught:
            call()
        assert reject.message in str(caught.value)
        assert str(caught.value).startswith(spec.name + ": ")


def test_rejects_of_sample():
    for call, message in (
        (
            lambda: sample("glorot", 0, (2, 3)),
            "sample: entry is 'glorot', expected one of ['zeros'",
        ),
        (
            lambda: sample("normal", 0, (2,), np.int32),
            "sample: dtype is int32, expected a floating",
        ),
        (
            lambda: IN_TORCH["normal"](0, (2,), torch.int32),
            "normal: dtype is torch.int32, expected",
        ),
        (lambda: IN_JAX["normal"](0, (2,), jnp.int32), "normal: dtype is int32, expected"),
    ):
        with pytest.raises(SpecError) as caught:
            call()
        assert message in str(caught.value)
    warnings.simplefilter("error")
    assert IN_JAX["normal"](0, (2,)).dtype == jnp.float64
