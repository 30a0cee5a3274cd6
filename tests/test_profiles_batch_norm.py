"""Profiles of batch normalisation against flax and keras: y, dx and the running statistics over
three steps of training, then inference."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("flax")

from flax import nnx

from bpx_jax import nn as J
from bpx_torch import nn as N
from tests.libraries import close, keras, lenient, of_flax, of_keras, value_and_grads

pytestmark = pytest.mark.slow

BOUND = {"flax": 1e-11, "keras": 2e-5}  # keras normalizes in float32 whatever it is asked for
layers, wide = keras.layers, {"dtype": "float64"}
rng = np.random.default_rng(8)
BATCHES = [2 * rng.standard_normal((6, 3, 5)) + i for i in range(3)]
START = (rng.standard_normal(3), rng.uniform(0.5, 2, 3))
V, C = rng.standard_normal(3), rng.standard_normal(3)
DB = rng.standard_normal((6, 3, 5))


def keras_batches(options):
    layer = layers.BatchNormalization(axis=1, **wide, **options)
    state, found = START, []
    for x in BATCHES:
        with lenient():
            y, state = of_keras(layer, x, (V, C), state, training=True)

        def f(x, state=state):
            return of_keras(layer, x, (V, C), state, training=True)[0]

        found += [y, value_and_grads(f, (x,), DB)[1], *state]
    with lenient():
        return [*found, of_keras(layer, BATCHES[0], (V, C), state, training=False)[0]]


def flax_batches(options):
    given = {"scale": V, "bias": C, "mean": START[0], "var": START[1]}
    module = of_flax(partial(nnx.BatchNorm, 3, axis=1, **options), **given)
    found = []
    for x in BATCHES:
        with lenient():

            def f(m, x):
                y = m(x, use_running_average=False)
                return (y * DB).sum(), y

            dx, y = nnx.grad(f, argnums=1, has_aux=True)(module, jax.numpy.asarray(x))
            found += [y, dx, module.mean[...], module.var[...]]
    with lenient():
        return [*found, module(jax.numpy.asarray(BATCHES[0]), use_running_average=True)]


def torch_batches(profile, options):
    module = N.BatchNorm1d(3, profile=profile, dtype=torch.float64, **options)
    named = {"weight": V, "bias": C, "running_mean": START[0], "running_var": START[1]}
    module.load_state_dict({k: torch.tensor(v) for k, v in named.items()}, strict=False)
    found = []
    for a in BATCHES:
        x = torch.tensor(a, requires_grad=True)
        y = module(x)
        y.backward(torch.tensor(DB))
        found += [y.detach(), x.grad, module.running_mean.clone(), module.running_var.clone()]
    return [*found, module.eval()(torch.tensor(BATCHES[0])).detach()]


def jax_batches(profile, options):
    state, found = START, []
    for x in BATCHES:

        def f(x, state=state):
            return J.batch_norm(x, V, C, *state, training=True, profile=profile, **options)

        y, *after = f(jax.numpy.asarray(x))
        found += [y, value_and_grads(lambda x: f(x)[0], (x,), DB)[1], *after]
        state = after
    y = J.batch_norm(BATCHES[0], V, C, *state, training=False, profile=profile, **options)[0]
    return [*found, y]


@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.7, "epsilon": 0.2}], ids=["defaults", "given"]
)
@pytest.mark.parametrize("profile", ["flax", "keras"])
def test_batch_norm(profile, options):
    """Three steps of training, then inference: y, dx and the running statistics."""
    want = {"flax": flax_batches, "keras": keras_batches}[profile](options)
    ours = {"eps" if k == "epsilon" else k: v for k, v in options.items()}
    close(torch_batches(profile, ours), want, BOUND[profile])
    close(jax_batches(profile, ours), want, BOUND[profile])


def test_cumulative_statistics_are_the_same_under_every_profile():
    """momentum=None is torch's alone: the mean over all batches."""
    runs = [torch_batches(p, {"momentum": None, "eps": 1e-5})[-3] for p in ("torch", "flax")]
    close(runs[1:], runs[:1])


def test_the_repr_says_what_differs():
    assert "of_batch=False, unbiased=False" in repr(N.BatchNorm2d(3, profile="keras"))
    assert "unbiased" not in repr(N.BatchNorm2d(3))
    assert N.BatchNorm2d(3, profile="keras", unbiased=True).unbiased
