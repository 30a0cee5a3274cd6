"""The normalisations of bpx_jax.nn: where the channels lie, and running statistics as state."""

import importlib

import numpy as np
import pytest

from bpx.spec import SpecError

jax = pytest.importorskip("jax")
jnp = jax.numpy
nn = importlib.import_module("bpx_jax.nn")

NAMES = "group_norm batch_norm instance_norm".split()


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def draw(seed=4):
    rng = np.random.default_rng(seed)
    return {
        "x": jnp.asarray(2 * rng.normal(size=(4, 6, 5)) + 1),
        "weight": jnp.asarray(rng.normal(size=6)),
        "bias": jnp.asarray(rng.normal(size=6)),
        "mean": jnp.asarray(rng.normal(size=6)),
        "var": jnp.asarray(rng.uniform(0.1, 1, size=6)),
        "dy": jnp.asarray(rng.normal(size=(4, 6, 5))),
    }


def pulled(name, a, axis):
    """y and the gradients of x, weight and bias, with the channels back in the second place."""

    def f(x, weight, bias):
        if name == "batch_norm":
            state = (a["mean"], a["var"])
            return nn.batch_norm(x, weight, bias, *state, training=True, axis=axis)[0]
        groups = {"num_groups": 3} if name == "group_norm" else {}
        return getattr(nn, name)(x, weight, bias, axis=axis, **groups)

    y, pull = jax.vjp(f, jnp.moveaxis(a["x"], 1, axis), a["weight"], a["bias"])
    dx, *rest = pull(jnp.moveaxis(a["dy"], 1, axis))
    return [jnp.moveaxis(y, axis, 1), jnp.moveaxis(dx, axis, 1), *rest]


@pytest.mark.parametrize("name", NAMES)
def test_axis(name):
    a = draw()
    want = pulled(name, a, 1)
    for axis in (-1, 2, -2):
        for g, w in zip(pulled(name, a, axis), want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [0, 3, -3, None])
def test_axis_refused(name, axis):
    a = draw()
    required = (a["x"], None, None)
    options = {}
    if name == "batch_norm":
        required, options = (*required, a["mean"], a["var"]), {"training": True}
    with pytest.raises(SpecError, match=f"{name}: axis is {axis}, expected an axis of x of shape"):
        getattr(nn, name)(*required, axis=axis, **options)


def test_running_statistics():
    """flax's convention: the share that is kept, and the biased variance."""
    a = draw()
    state = (a["mean"], a["var"])
    _, mean, var = nn.batch_norm(a["x"], None, None, *state, training=True)
    np.testing.assert_allclose(mean, 0.99 * a["mean"] + 0.01 * a["x"].mean((0, 2)), rtol=1e-13)
    np.testing.assert_allclose(var, 0.99 * a["var"] + 0.01 * a["x"].var((0, 2)), rtol=1e-13)


def test_torchs_running_statistics():
    torch = pytest.importorskip("torch")
    a = draw()
    module = torch.nn.BatchNorm1d(6, momentum=0.3, dtype=torch.float64)
    state = {"weight": a["weight"], "bias": a["bias"], "running_mean": a["mean"]}
    state = {k: torch.tensor(np.asarray(v)) for k, v in {**state, "running_var": a["var"]}.items()}
    module.load_state_dict(state, strict=False)
    mean, var = a["mean"], a["var"]
    step = jax.jit(nn.batch_norm, static_argnames=("training", "momentum", "unbiased"))
    for training in (True, True, False):
        module.train(training)
        options = {"training": training, "momentum": 0.7, "unbiased": True}
        y, mean, var = step(a["x"], a["weight"], a["bias"], mean, var, **options)
        want = module(torch.tensor(np.asarray(a["x"]))).detach().numpy()
        np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(mean, module.running_mean, rtol=1e-12)
        np.testing.assert_allclose(var, module.running_var, rtol=1e-12)


def test_state_keeps_its_dtype_and_passes_no_gradient():
    a = draw()
    x = a["x"].astype(jnp.bfloat16)
    state = (a["mean"].astype(jnp.float32), a["var"].astype(jnp.float32))

    def f(x):
        y, *new = nn.batch_norm(x, None, None, *state, training=True)
        return sum((n * n).sum() for n in new), (y, new)

    dx, (y, new) = jax.grad(f, has_aux=True)(x)
    assert not dx.any()
    assert y.dtype == jnp.bfloat16
    assert [n.dtype for n in new] == [jnp.float32] * 2


def test_an_empty_batch_moves_nothing():
    a = draw()
    y, mean, var = nn.batch_norm(a["x"][:0], None, None, a["mean"], a["var"], training=True)
    assert y.shape == (0, 6, 5)
    np.testing.assert_array_equal(mean, a["mean"])
    np.testing.assert_array_equal(var, a["var"])


def test_wrong_state():
    a = draw()
    with pytest.raises(SpecError, match=r"running_mean has shape \(5,\), expected \(6,\)"):
        nn.batch_norm(a["x"], None, None, a["mean"][:5], a["var"], training=True)
    with pytest.raises(SpecError, match=r"running_mean is None, expected shape \(6,\)"):
        nn.batch_norm(a["x"], None, None, None, a["var"], training=True)
