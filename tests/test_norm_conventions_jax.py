"""What the libraries differ in about normalisation, by profile; one value for each channel; large
means."""

import numpy as np
import pytest

import bpx
from bpx.profiles import TABLE
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax import nn

rng = np.random.default_rng(4)
XS = [2 * rng.standard_normal((4, 3, 5)) + i for i in range(3)]
WEIGHT, BIAS, DY = (rng.standard_normal(n) for n in (3, 3, (4, 3, 5)))
START = (rng.standard_normal(3), rng.uniform(0.5, 2, 3))


def run(profile, **options):
    """y, dx and statistics over three training steps, then y in inference."""
    state, found = START, []
    for x in XS:

        def f(x, state=state):
            y, *state = nn.batch_norm(
                x, WEIGHT, BIAS, *state, training=True, profile=profile, **options
            )
            return (y * DY).sum(), (y, state)

        dx, (y, state) = jax.grad(f, has_aux=True)(jnp.asarray(x))
        found += [y, dx, *state]
    y, *same = nn.batch_norm(
        XS[0], WEIGHT, BIAS, *state, training=False, profile=profile, **options
    )
    for a, b in zip(same, state, strict=True):
        np.testing.assert_array_equal(a, b)
    return [np.asarray(a) for a in (*found, y)]


@pytest.mark.parametrize("options", [{}, {"momentum": 0.3, "eps": 0.2}], ids=["defaults", "given"])
def test_torch(options):
    torch = pytest.importorskip("torch")
    module = torch.nn.BatchNorm1d(3, **options, dtype=torch.float64)
    named = {"weight": WEIGHT, "bias": BIAS, "running_mean": START[0], "running_var": START[1]}
    module.load_state_dict({k: torch.tensor(v) for k, v in named.items()}, strict=False)
    want = []
    for a in XS:
        x = torch.tensor(a, requires_grad=True)
        y = module(x)
        (dx,) = torch.autograd.grad(y, x, torch.tensor(DY))
        want += [y, dx, module.running_mean.clone(), module.running_var.clone()]
    want.append(module.eval()(torch.tensor(XS[0])))
    for g, w in zip(run("torch", **options), want, strict=True):
        np.testing.assert_allclose(g, w.detach(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.7, "epsilon": 0.2}], ids=["defaults", "g"])
def test_flax(options):
    pytest.importorskip("flax")
    from flax import nnx

    given = {"axis": 1, "use_fast_variance": False, "dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    module = nnx.BatchNorm(3, **given, param_dtype=jnp.float64, **options)
    named = {"scale": WEIGHT, "bias": BIAS, "mean": START[0], "var": START[1]}
    for name, a in named.items():
        getattr(module, name).set_value(jnp.asarray(a))
    want = []
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for a in XS:

            def f(m, x):
                y = m(x, use_running_average=False)
                return (y * DY).sum(), y

            dx, y = nnx.grad(f, argnums=1, has_aux=True)(module, jnp.asarray(a))
            want += [y, dx, module.mean[...], module.var[...]]
        want.append(module(jnp.asarray(XS[0]), use_running_average=True))
    ours = {"eps" if k == "epsilon" else k: v for k, v in options.items()}
    found = run("flax", **ours)
    for g, w in zip(found, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-11, atol=1e-12)


def test_keras():
    """The formula of keras.layers.BatchNormalization's documentation: moving = moving * 0.99 +
    batch * 0.01 with the biased variance, epsilon 0.001 inside the root."""
    mean, var, want = *START, []
    for x in XS:
        own = x.mean((0, 2)), x.var((0, 2))
        y = (x - own[0][:, None]) / np.sqrt(own[1][:, None] + 0.001)
        want.append(WEIGHT[:, None] * y + BIAS[:, None])
        mean, var = 0.99 * mean + 0.01 * own[0], 0.99 * var + 0.01 * own[1]
        want += [mean, var]
    y = (XS[0] - mean[:, None]) / np.sqrt(var[:, None] + 0.001)
    want.append(WEIGHT[:, None] * y + BIAS[:, None])
    found = run("keras")
    del found[1:-1:4]  # dx
    for g, w in zip(found, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-11, atol=1e-12)


def test_every_profile_differs():
    found = {name: run(name)[-1] for name in TABLE["batch_norm"]}
    for name in TABLE["batch_norm"]:
        for other in set(TABLE["batch_norm"]) - {name}:
            assert abs(found[name] - found[other]).max() > 1e-4
    message = r"profile is 'mxnet', expected one of \['torch', 'flax', 'keras'\]"
    with pytest.raises(SpecError, match=f"batch_norm: {message}"):
        run("mxnet")


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1)])
def test_one_value_for_each_channel(shape):
    x = jnp.ones(shape)
    with pytest.raises(SpecError, match=r"batch_norm: x of shape .* has 1 value for each channel"):
        nn.batch_norm(x, None, None, *START, training=True)
    assert nn.batch_norm(x, None, None, *START, training=False)[0].shape == shape
    x = jnp.ones((2, 3, 1))
    with pytest.raises(SpecError, match=r"instance_norm: .*1 value for each channel"):
        nn.instance_norm(x)


NORMS = {
    "layer_norm": lambda x: nn.layer_norm(x),
    "group_norm": lambda x: nn.group_norm(x, num_groups=2),
    "instance_norm": lambda x: nn.instance_norm(x),
    "batch_norm": lambda x: nn.batch_norm(x, None, None, *BATCH, training=True)[0],
}
BATCH = (np.zeros(4), np.ones(4))


@pytest.mark.parametrize("kernel", [None, "plain"])
@pytest.mark.parametrize("name", NORMS)
def test_a_large_mean_keeps_its_digits(name, kernel):
    """Mean 1e4, deviation 1 in float32, against float64 at the same inputs: the mean is rounded by
    at most 1e4 u, which moves xhat, and with it the gradient, by as much of 1."""
    x = (rng.standard_normal((8, 4, 6, 36)) + 1e4).astype(np.float32)
    dy, limit = rng.standard_normal(x.shape), 1e4 * 2.0**-24
    found = []
    for dtype in (np.float32, np.float64):
        with bpx.use(kernel):
            y, pull = jax.vjp(NORMS[name], jnp.asarray(x, dtype))
            found.append([y, *pull(jnp.asarray(dy, dtype))])
    for g, w in zip(*found, strict=True):
        assert np.abs(np.asarray(g, np.float64) - w).max() <= 4 * limit * np.abs(w).max()
