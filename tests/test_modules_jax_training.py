"""Networks of layers with plain parameters: composition, state, keys, training under JAX's
transformations."""

import copy

import numpy as np
import pytest

from bpx.spec import SpecError

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax import nn, optim, random

rng = np.random.default_rng(5)
NET = nn.Sequential(
    nn.Conv(1, 4, (3, 3), padding=1),
    nn.BatchNorm(4),
    nn.relu,
    lambda x: x.reshape(x.shape[0], -1),
    nn.Dropout(0.25),
    nn.Linear(4 * 25, 3),
)


def randn(*shape):
    return jnp.asarray(rng.standard_normal(shape))


def loss(params, state, x, labels, key):
    logits, state = NET.apply(params, x, state, key=key, training=True)
    picked = jax.nn.one_hot(labels, 3, dtype=logits.dtype)
    return -(nn.log_softmax(logits) * picked).sum(-1).mean(), state


def test_trains_with_optax_and_donated_buffers():
    optax = pytest.importorskip("optax")
    params, state = NET.init(1), NET.init_state()
    assert set(nn.flat(params)) == {f"{i}.{n}" for i in (0, 1, 5) for n in ("weight", "bias")}
    assert set(nn.flat(state)) == {"1.running_mean", "1.running_var"}
    x, labels = randn(12, 1, 5, 5), jnp.asarray(rng.integers(0, 3, 12))
    rule = optim.adamw(1e-2)
    memory = rule.init(params)

    def step(params, state, memory, key):
        (value, state), grads = jax.value_and_grad(loss, has_aux=True)(
            params, state, x, labels, key
        )
        updates, memory = rule.update(grads, memory, params)
        return optax.apply_updates(params, updates), state, memory, value

    compiled, values, first = jax.jit(step, donate_argnums=(0, 1, 2)), [], params
    for i in range(40):
        params, state, memory, value = compiled(params, state, memory, random.fold_in(3, i))
        values.append(float(value))
    assert first["0"]["weight"].is_deleted()
    assert values[-1] < 0.2 * values[0]
    assert NET.apply(params, x, state)[0].argmax(-1).tolist() == labels.tolist()


def test_a_state_is_explicit():
    params, state = NET.init(1), NET.init_state()
    before = copy.deepcopy(state)
    x = 2 * randn(6, 1, 5, 5) + 1
    y, new = NET.apply(params, x, state, key=3, training=True)
    assert isinstance(NET.apply(params, x, state)[1], dict)
    jax.tree.map(np.testing.assert_array_equal, state, before)  # nothing is changed in place
    inner = nn.Sequential(*NET.layers[:1]).apply(params, x)
    mean = 0.9 * state["1"]["running_mean"] + 0.1 * inner.mean((0, 2, 3))
    np.testing.assert_allclose(new["1"]["running_mean"], mean, rtol=1e-12)
    var = 0.9 * state["1"]["running_var"] + 0.1 * inner.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(new["1"]["running_var"], var, rtol=1e-12)
    _, same = NET.apply(params, x, new)
    jax.tree.map(np.testing.assert_array_equal, same, new)
    np.testing.assert_array_equal(y, NET.apply(params, x, key=3, training=True))
    with pytest.raises(SpecError, match="batch_norm: state is None, expected the running stat"):
        NET.apply(params, x)
    with pytest.raises(SpecError, match="dropout: key is None, expected a key in training"):
        NET.apply(params, x, state, training=True)


def test_a_sequential_is_its_layers():
    net = nn.Sequential(nn.Embedding(7, 4, padding_idx=2), nn.GRU(4, 3), nn.Linear(3, 2), nn.tanh)
    params, tokens = net.init(2), jnp.asarray(rng.integers(0, 7, (5, 2)))
    assert not params["0"]["weight"][2].any()
    np.testing.assert_array_equal(
        params["2"]["bias"], net.layers[2].init(random.fold_in(2, 2))["bias"]
    )
    e = params["0"]["weight"][tokens]
    h = net.layers[1].apply(params["1"], e)[0]
    want = jnp.tanh(h @ params["2"]["weight"].T + params["2"]["bias"].reshape(1, 1, 2))
    np.testing.assert_allclose(net.apply(params, tokens), want, rtol=1e-12)
    with pytest.raises(SpecError, match="sequential: layer 1 is 3, expected a layer or a function"):
        nn.Sequential(nn.tanh, 3)


def test_scan_over_layers_checkpoint_and_ensembles():
    """One block with stacked parameters, scanned and rematerialised, against a loop; an ensemble of
    parameters by vmap, its parameters drawn under vmap too."""
    block = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.gelu)
    keys = random.split(6, 3)
    each = [block.init(k) for k in keys]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *each)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(jax.vmap(block.init))(keys), stacked)
    x, dy = randn(2, 4), randn(2, 4)

    def scanned(params, x):
        body = jax.checkpoint(lambda h, p: (h + block.apply(p, h), None))
        return (jax.lax.scan(body, x, params)[0] * dy).sum()

    def looped(params, x):
        for p in params:
            x = x + block.apply(p, x)
        return (x * dy).sum()

    got = jax.jit(jax.grad(scanned, (0, 1)))(stacked, x)
    want = jax.jit(jax.grad(looped, (0, 1)))(each, x)
    want = (jax.tree.map(lambda *a: jnp.stack(a), *want[0]), want[1])
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)  # noqa: E731
    jax.tree.map(close, got, want)
    ensemble = jax.vmap(block.apply, (0, None))(stacked, x)
    close(ensemble, jnp.stack([block.apply(p, x) for p in each]))


def test_a_layer_is_a_static_argument():
    run = jax.jit(lambda layer, params, x: layer.apply(params, x), static_argnums=0)
    for layer in (nn.Linear(4, 3), nn.Conv(4, 2, (3,), padding=1)):
        assert layer == copy.deepcopy(layer)
        assert hash(layer) == hash(copy.deepcopy(layer))
        x = randn(2, 4) if isinstance(layer, nn.Linear) else randn(2, 4, 5)
        np.testing.assert_allclose(
            run(layer, layer.init(1), x), layer.apply(layer.init(1), x), rtol=1e-12
        )


def test_attention_sees_what_the_mask_lets():
    layer = nn.MultiheadAttention(6, 2, dropout=0.4)
    params, x, context = layer.init(1), randn(2, 4, 6), randn(2, 5, 6)
    y = layer.apply(params, x, causal=True)
    seen = jnp.tril(jnp.ones((4, 4), bool))[None, None]
    np.testing.assert_allclose(layer.apply(params, x, None, seen), y, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        layer.apply(params, x[:, :2], causal=True), y[:, :2], rtol=1e-12, atol=1e-13
    )
    shuffled = context[:, ::-1]
    np.testing.assert_allclose(
        layer.apply(params, x, context), layer.apply(params, x, shuffled), rtol=1e-11, atol=1e-12
    )
    drawn = [layer.apply(params, x, key=k, training=True) for k in (3, 3, 4)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert abs(drawn[0] - drawn[2]).max() > 1e-3
    with pytest.raises(SpecError, match="embed_dim is 6, expected a multiple of num_heads=4"):
        nn.MultiheadAttention(6, 4)


@pytest.mark.parametrize("kind", [nn.Conv, nn.ConvTranspose])
def test_mistakes_of_a_constructor(kind):
    with pytest.raises(SpecError, match="kernel_size is 3, expected a tuple"):
        kind(2, 4, 3)
    with pytest.raises(SpecError, match="in_channels is 3, expected a multiple of groups=2"):
        kind(3, 4, (3,), groups=2)


def test_parameters_by_dotted_names():
    params = NET.init(1)
    named = {n: np.asarray(a, np.float32) for n, a in nn.flat(params).items()}
    again = nn.nested(named, like=params)
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert {a.dtype for a in jax.tree.leaves(again)} == {jnp.dtype("float64")}
    with pytest.raises(SpecError, match=r"nested: names are \['0.bias'\], expected \['0.bias', "):
        nn.nested({"0.bias": named["0.bias"]}, like=params)
    with pytest.raises(SpecError, match=r"0.bias has shape \(1, 4\), expected \(4,\)"):
        nn.nested({**named, "0.bias": named["0.bias"][None]}, like=params)


def test_equinox_module_around_a_bpx_layer():
    eqx = pytest.importorskip("equinox")
    x, dy = randn(5, 4), randn(5, 3)

    class Model(eqx.Module):
        layer: nn.Module = eqx.field(static=True)
        params: dict

        def __call__(self, x):
            return self.layer.apply(self.params, x)

    layer = nn.Sequential(nn.Linear(4, 8), nn.gelu, nn.Linear(8, 3))
    model = Model(layer, layer.init(1))
    loss = lambda m: jnp.square(m(x) - dy).mean()  # noqa: E731
    value, grads = eqx.filter_jit(eqx.filter_value_and_grad(loss))(model)
    want = jax.grad(lambda p: jnp.square(layer.apply(p, x) - dy).mean())(model.params)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)  # noqa: E731
    jax.tree.map(close, grads.params, want)
    stepped = eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, grads))
    assert loss(stepped) < value
