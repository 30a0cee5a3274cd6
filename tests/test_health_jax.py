"""bpx_jax.health: what is measured, through which transformations, and planted faults."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx.demo import specimens
from bpx.health import measure
from bpx.spec import SpecError
from bpx_jax import health
from bpx_jax import specimens as built
from tests.health_samples import alike as near

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(4)
W = {"0": {"w": RNG.standard_normal((3, 7))}, "10": {"w": RNG.standard_normal((7, 2))}}
W = {"9": W["10"], "0": W["0"]}
X = 3 * RNG.standard_normal((11, 3))


def loss(params, x):
    h = health.tag(x @ params["0"]["w"], "0", "linear")
    h = health.tag(jnp.maximum(h, 0), "act", "relu")
    y = health.tag(jnp.tanh(h @ params["9"]["w"]), "9", "tanh")
    return health.tag(jnp.square(y).mean(), "loss", "loss")


def alike(got, x):
    near(got, x, 1e-5)


def report(seen, step=0):
    history = health.History()
    history.add(step, seen)
    return history.report()


def by_hand():
    """Outputs and their gradients, in NumPy."""
    a = X @ W["0"]["w"]
    h = np.maximum(a, 0)
    y = np.tanh(h @ W["9"]["w"])
    dy = 2 * y / y.size
    dh = (dy * (1 - y**2)) @ W["9"]["w"].T
    return (a, h, y), (dh * (a > 0), dh, dy)


def test_a_sample_is_what_numpy_finds():
    """Under jit, sampled by a traced boolean, updates and value and gradient included."""
    grads_of = health.value_and_grad(loss)

    @jax.jit
    def step(params, x, sample):
        (value, grads), seen = grads_of(params, x, sample=sample)
        updates = jax.tree.map(lambda g: -0.1 * g, grads)
        return value, grads, health.with_updates(seen, updates)

    value, grads, seen = step(W, X, True)
    want, want_grads = jax.value_and_grad(loss)(W, X)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), grads, want_grads)
    sample = report(seen).samples[0]
    assert [layer.name for layer in sample.layers] == ["0", "act", "9", "loss"]
    for layer, x, dx in zip(sample.layers, *by_hand(), strict=False):
        alike(layer.activation, x)
        alike(layer.gradient, dx)
    (_, h, y), _ = by_hand()
    assert sample.layers[1].dead == pytest.approx(measure.dead(h))
    assert sample.layers[1].examples == 11
    assert sample.layers[2].saturated == pytest.approx(measure.saturated(y, "tanh"))
    assert 0 < sample.layers[2].saturated < 1
    assert [(p.name, p.layer) for p in sample.parameters] == [("0.w", "0"), ("9.w", "9")]
    for p, key in zip(sample.parameters, ("0", "9"), strict=True):
        alike(p.weight, W[key]["w"])
        alike(p.gradient, np.asarray(want_grads[key]["w"]))
        assert p.update == pytest.approx(0.1 * np.linalg.norm(want_grads[key]["w"]), rel=1e-5)
        assert p.twins == 0
    value, grads, seen = step(W, X, False)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    assert not seen.sampled
    assert len(jax.tree.leaves(seen)) == 3
    assert all(not np.any(a) for a in jax.tree.leaves(seen))
    history = health.History()
    history.add(1, seen)
    assert not history.samples


def ways(params, x):
    """One loss, its hidden layer met by vmap, scan, a jitted function and checkpoint."""

    def each(row):
        return health.tag(jnp.maximum(row @ params, 0), "vmap", "relu")

    def body(carry, row):
        return carry + health.tag(jnp.maximum(row @ params, 0), "scan", "relu").sum(), None

    whole = lambda name: lambda x: health.tag(jnp.maximum(x @ params, 0), name, "relu")  # noqa: E731
    total = jax.vmap(each)(x).sum() + jax.lax.scan(body, 0.0, x)[0]
    return total + INNER(params, x).sum() + jax.checkpoint(whole("remat"))(x).sum()


INNER = jax.jit(lambda params, x: health.tag(jnp.maximum(x @ params, 0), "jit", "relu"))


def test_tags_inside_of_transformations():
    """What vmap, scan, jit and remat meet adds up to what the whole batch is; also where the
    inner function has been traced before, by nobody and by an earlier call."""
    INNER(W["0"]["w"], X)
    want = np.maximum(X @ W["0"]["w"], 0)
    grads_of = health.value_and_grad(ways)
    for call in (jax.jit(grads_of), jax.jit(lambda p, x: grads_of(p, x))):
        layers = report(call(W["0"]["w"], X)[1]).samples[0].layers
        assert [layer.name for layer in layers] == ["vmap", "scan", "jit", "remat"]
        for layer in layers:
            alike(layer.activation, want)
            alike(layer.gradient, np.ones_like(want))
            assert layer.dead == pytest.approx(measure.dead(want))
            assert layer.examples == 11


def test_argnums_auxiliary_and_untagged():
    def f(x, y):
        return (x["a"] * y).sum(), y.size

    grads_of = health.value_and_grad(f, argnums=(0, -1), has_aux=True)
    ((value, aux), grads), seen = grads_of({"a": jnp.ones((2, 3))}, jnp.full((2, 3), 2.0))
    assert (value, aux, len(grads)) == (12, 6, 2)
    sample = report(health.with_updates(seen, grads)).samples[0]
    assert not sample.layers
    assert [p.name for p in sample.parameters] == ["0.a", "1"]
    assert sample.parameters[0].update == pytest.approx(np.sqrt(24))
    assert sample.parameters[0].twins == 1
    assert seen.sampled is True


def test_what_is_known_not_to_be_sampled_has_no_arrays():
    @jax.jit
    def step(params, x):
        (_, grads), seen = health.value_and_grad(loss)(params, x, sample=False)
        return grads, health.with_updates(seen, grads)

    grads, seen = step(W, X)
    want = jax.grad(loss)(W, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), grads, want)
    assert jax.tree.leaves(seen) == []
    assert seen.sampled is False
    assert seen.names == ("0.w", "9.w")
    with pytest.raises(SpecError, match="updates have shapes"):
        health.with_updates(seen, grads["0"])
    history = health.History()
    history.add(3, seen)
    assert not history.samples
    with pytest.raises(SpecError, match="step is 3, expected more than 3, the step before it"):
        history.add(3, seen)


def test_what_the_value_does_not_depend_on_has_no_row():
    def f(x):
        health.tag(x * 2, "unused")
        return health.tag(x * 3, "used").sum()

    _, seen = health.value_and_grad(f)(jnp.ones(3))
    assert [x.name for x in report(seen).samples[0].layers] == ["used"]


CHEAP = (
    "deep tanh", "rate x 100", "rate 1e-8", "zero start", "constant start", "dead ReLU",
    "large sigmoid", "large softmax", "log of 0", "exp overflow", "root of 0", "ReLU by He",
    "tanh by Xavier", "leaked labels",
)  # fmt: skip


def test_planted_faults_are_named(monkeypatch):
    """In one step, outside of jit: compiling the networks takes longer than training them."""
    monkeypatch.setattr(specimens, "STEPS", 1)
    for specimen in specimens.ALL:
        if specimen.name in CHEAP:
            found = built.report(specimen, 0, "own", jit=False)
            assert found.diagnosis == specimen.fault, (specimen.name, found.words)


def changing():
    count = iter(range(9))
    return lambda x: health.tag(x, f"layer {next(count)}").sum()


def twice(second_kind, size):
    def f(x):
        health.tag(x, "a", "relu")
        return health.tag(x[:size], "a", second_kind).sum()

    return lambda: health.value_and_grad(f)(jnp.ones(3))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: health.tag(X, "a", "spam"), "kind is 'spam', expected one of ["),
        (lambda: health.tag(X, ""), "name is '', expected text that names the layer"),
        (lambda: health.tag(jnp.arange(3), "a"), "a has dtype int"),
        (lambda: health.tag(X, "a", "relu", 2), "axis is 2 for a of shape (11, 3), expected an a"),
        (twice("tanh", 3), "a has kind 'tanh' and 0 units, expected 'relu' and 3 as where"),
        (twice("relu", 2), "a has kind 'relu' and 2 units, expected 'relu' and 3 as where"),
        (lambda: health.History().add(0, 3), "seen is int, expected the Statistics of value_and"),
        (lambda: health.History().report(), "samples is empty, expected at least one"),
        (
            lambda: health.with_updates(
                health.value_and_grad(jnp.sum)(jnp.ones(3))[1], jnp.ones(2)
            ),
            "updates have shapes [(2,)], expected [(3,)]",
        ),
    ],
)
def test_refuses(call, says):
    with pytest.raises(SpecError) as error:
        call()
    assert str(error.value).startswith(f"health: {says}")


def test_refuses_names_that_change():
    with pytest.raises(SpecError, match=r"^health: layer 1 was not named in the first tracing of"):
        health.value_and_grad(changing())(jnp.ones(3))
    first = iter([True])

    def once(x):
        return (health.tag(x, "a") if next(first, False) else x).sum()

    with pytest.raises(
        SpecError, match=r"^health: a was named in the first tracing of the functio"
    ):
        health.value_and_grad(once)(jnp.ones(3))
