"""Profiles of layers against the library each is named after: y and all gradients in float64."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("flax")

from flax import nnx

from bpx.profiles._kinks import KINKS
from bpx_jax import nn as J
from bpx_torch import functional as F
from bpx_torch import nn as N
from tests.libraries import (
    close,
    keras,
    of_flax,
    of_keras,
    value_and_grads,
    value_and_grads_torch,
)

pytestmark = pytest.mark.slow

rng = np.random.default_rng(7)
# small enough for eps to be heard: its defaults lie between 1e-7 and 1e-3
X = 0.03 * rng.standard_normal((4, 64)) + 0.01
W, B, DY = (rng.standard_normal(n) for n in (64, 64, (4, 64)))
L, DL = rng.standard_normal((2, 3, 5, 64)) * 0.02, rng.standard_normal((2, 3, 5, 64))
Z = np.concatenate([np.linspace(-6, 25, 40) + 0.003, [30.0]])
DZ = rng.standard_normal(Z.shape)
layers, ops = keras.layers, keras.ops
wide = {"dtype": "float64"}


def last(x):
    return x.movedim(1, -1) if isinstance(x, torch.Tensor) else np.moveaxis(x, 1, -1)


def first(x):
    return x.movedim(-1, 1) if isinstance(x, torch.Tensor) else jax.numpy.moveaxis(x, -1, 1)


def flax_norm(kind, features, x, *parameters):
    named = dict(zip(("scale", "bias"), parameters, strict=False))
    return of_flax(partial(kind, features), **named)(x)


def keras_norm(kind, x, *parameters):
    return of_keras(kind(**wide), x, parameters)[0]


# (entry, profile) -> (the library's function, bpx_torch's, bpx_jax's, the arrays, dy)
NORMS = {
    "layer_norm": (nnx.LayerNorm, layers.LayerNormalization, (X, W, B), DY),
    "rms_norm": (nnx.RMSNorm, layers.RMSNormalization, (X, W), DY),
    "group_norm": (nnx.GroupNorm, layers.GroupNormalization, (L, W, B), DL),
}
TORCH = {
    "layer_norm": lambda p, x, *w: F.layer_norm(x, (64,), *w, profile=p),
    "rms_norm": lambda p, x, *w: F.rms_norm(x, (64,), *w, profile=p),
    "group_norm": lambda p, x, *w: last(F.group_norm(first(x), weight=w[0], bias=w[1], profile=p)),
}
JAX = {
    "layer_norm": lambda p, x, *w: J.layer_norm(x, *w, profile=p),
    "rms_norm": lambda p, x, *w: J.rms_norm(x, *w, profile=p),
    "group_norm": lambda p, x, *w: J.group_norm(x, *w, axis=-1, profile=p),
}


# Conditioning here is below 100, and a norm is some dozens of roundings. keras normalizes in
# float32 whatever dtype it is asked for.
BOUND = {"flax": 1e-11, "keras": 2e-5}


@pytest.mark.parametrize("profile", ["flax", "keras"])
@pytest.mark.parametrize("entry", NORMS)
def test_norms(entry, profile):
    of, of_k, arrays, dy = NORMS[entry]
    theirs = partial(flax_norm, of, 64) if profile == "flax" else partial(keras_norm, of_k)
    want = value_and_grads(theirs, arrays, dy)
    bound = BOUND[profile]
    close(value_and_grads_torch(partial(TORCH[entry], profile), arrays, dy), want, bound)
    close(value_and_grads(partial(JAX[entry], profile), arrays, dy), want, bound)
    if entry != "group_norm":  # the profile is heard: torch has another eps
        own = value_and_grads_torch(partial(TORCH[entry], None), arrays, dy)
        grads = np.asarray(own[1]), np.asarray(want[1])
        assert np.abs(grads[0] - grads[1]).max() > 10 * bound * np.abs(grads[1]).max()


@pytest.mark.parametrize("entry", ["layer_norm", "rms_norm"])
def test_norms_of_torch_in_jax(entry):
    *_, arrays, dy = NORMS[entry]
    theirs = getattr(torch.nn.functional, entry)
    want = value_and_grads_torch(lambda x, *w: theirs(x, (64,), *w), arrays, dy)
    close(value_and_grads(partial(JAX[entry], "torch"), arrays, dy), want)


def test_instance_norm_of_flax():
    def theirs(x, w, b):
        return first(flax_norm(nnx.InstanceNorm, 3, last_jax(x), w, b))

    def last_jax(x):
        return jax.numpy.moveaxis(x, 1, -1)

    arrays, dy = (L[..., :7], W[:3], B[:3]), DL[..., :7]
    want = value_and_grads(theirs, arrays, dy)

    def ours(x, w, b):
        return F.instance_norm(x, weight=w, bias=b, profile="flax")

    close(value_and_grads_torch(ours, arrays, dy), want)
    close(value_and_grads(partial(J.instance_norm, profile="flax"), arrays, dy), want)


ACTIVATIONS = {
    ("gelu", "flax"): nnx.gelu,
    ("gelu", "keras"): keras.activations.gelu,
    ("leaky_relu", "flax"): nnx.leaky_relu,
    ("leaky_relu", "keras"): keras.activations.leaky_relu,
    ("softplus", "flax"): nnx.softplus,
    ("softplus", "keras"): keras.activations.softplus,
}


@pytest.mark.parametrize(("entry", "profile"), ACTIVATIONS, ids=str)
def test_activations(entry, profile):
    want = value_and_grads(ACTIVATIONS[entry, profile], (Z,), DZ)
    close(value_and_grads_torch(partial(getattr(F, entry), profile=profile), (Z,), DZ), want)
    close(value_and_grads(partial(getattr(J, entry), profile=profile), (Z,), DZ), want)


@pytest.mark.parametrize("entry", ["gelu", "leaky_relu", "softplus"])
def test_activations_of_torch_in_jax(entry):
    want = value_and_grads_torch(getattr(torch.nn.functional, entry), (Z,), DZ)
    close(value_and_grads(partial(getattr(J, entry), profile="torch"), (Z,), DZ), want)
    if entry != "leaky_relu":
        own = value_and_grads(getattr(J, entry), (Z,), DZ)
        assert np.abs(own[0] - np.asarray(want[0])).max() > 1e-10


def test_leaky_relu_of_keras_is_another_as_layer():
    want = value_and_grads(layers.LeakyReLU(**wide), (Z,), DZ)
    close(value_and_grads_torch(N.LeakyReLU(profile="keras"), (Z,), DZ), want)
    assert N.LeakyReLU(negative_slope=0.5, profile="keras").negative_slope == 0.5


def test_cosine_similarity_of_optax():
    """Below torch's eps the lengths count; a row of zeros is NaN."""
    import optax

    a, b = (1e-9 * rng.standard_normal((3, 5)) for _ in range(2))
    dy = rng.standard_normal(3)
    want = value_and_grads(optax.losses.cosine_similarity, (a, b), dy)
    close(value_and_grads_torch(partial(F.cosine_similarity, profile="optax"), (a, b), dy), want)
    close(value_and_grads(partial(J.cosine_similarity, profile="optax"), (a, b), dy), want)
    zero = torch.zeros(1, 5, dtype=torch.float64)
    assert F.cosine_similarity(zero, zero + 1, profile="optax").isnan()
    assert np.isnan(optax.losses.cosine_similarity(zero.numpy(), zero.numpy() + 1))


@pytest.mark.parametrize("kink", KINKS, ids=lambda k: f"{k.entry}-{k.at:g}")
def test_kinks(kink):
    """The facts of docs/profiles.md; bpx's two faces keep what the entry says."""

    def of_l1(f):
        return lambda x: f(x, x * 0)

    name = {"hardtanh": "hard_tanh", "hardsigmoid": "hard_sigmoid"}.get(kink.entry, kink.entry)
    one = kink.entry == "l1"
    at, dy = (np.array([kink.at]),), np.ones(1)
    theirs = torch.nn.functional.l1_loss if one else getattr(torch.nn.functional, kink.entry)
    ours = F.l1_loss if one else getattr(F, kink.entry)
    got = []
    for f in map(of_l1, (theirs, ours)) if one else (theirs, ours):
        got.append(value_and_grads_torch(lambda x, f=f: f(x).sum(), at, 1.0)[1])
    jax_own = jax.numpy.abs if one else getattr(jax.nn, name)
    assert [*map(float, got)] == pytest.approx([kink.torch, kink.bpx], rel=1e-6)
    assert float(value_and_grads(jax_own, at, dy)[1][0]) == pytest.approx(kink.jax, rel=1e-6)
    if not one:
        own = float(value_and_grads(getattr(J, name), at, dy)[1][0])
        assert own == pytest.approx(kink.bpx, rel=1e-6)
