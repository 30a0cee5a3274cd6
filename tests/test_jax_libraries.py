"""bpx_jax's functions inside flax.nnx and equinox modules, against the libraries' own layers: the
same parameters, values and gradients, under the libraries' own transformations, with strict dtype
and rank promotion."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax import nn

rng = np.random.default_rng(7)
X = rng.standard_normal((5, 4))
DY = rng.standard_normal((5, 3))
STEPS = rng.standard_normal((6, 5, 4))
DSTEPS = rng.standard_normal((6, 5, 3))


@pytest.fixture
def nnx():
    pytest.importorskip("flax")
    from flax import nnx

    return nnx


@pytest.fixture
def eqx():
    return pytest.importorskip("equinox")


def strict(f, *args):
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        return f(*args)


def relaxed(f, *args):
    """JAX's defaults: the libraries' own layers do not run under strict promotion."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return f(*args)


def wide(batch):
    """Running statistics in float64: nnx makes them float32 whatever param_dtype says."""
    for statistic in (batch.mean, batch.var):
        statistic.set_value(statistic[...].astype(jnp.float64))
    return batch


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


def randomised(tree):
    """The same tree with generic numbers: initial biases are 0 and scales are 1."""
    fill = np.random.default_rng(1)
    return jax.tree.map(
        lambda a: (
            jnp.asarray(fill.standard_normal(a.shape), a.dtype)
            if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jnp.floating)
            else a
        ),
        tree,
    )


def test_nnx_network(nnx):
    """linear, layer_norm, gelu, batch_norm and dropout of nnx, and bpx's in their place."""

    class Theirs(nnx.Module):
        def __init__(self, rngs):
            options = {"param_dtype": jnp.float64, "rngs": rngs}
            self.first = nnx.Linear(4, 6, **options)
            self.norm = nnx.LayerNorm(6, epsilon=1e-5, use_fast_variance=False, **options)
            self.batch = wide(nnx.BatchNorm(6, use_fast_variance=False, **options))
            self.second = nnx.Linear(6, 3, **options)

        def __call__(self, x):
            x = jax.nn.gelu(self.norm(self.first(x)))
            return self.second(self.batch(x))

    class Ours(Theirs):
        def __call__(self, x):
            first, norm, batch, second = self.first, self.norm, self.batch, self.second
            x = nn.linear(x, first.kernel[...].T, first.bias[...])
            x = nn.gelu(nn.layer_norm(x, norm.scale[...], norm.bias[...]))
            parameters = (batch.scale[...], batch.bias[...], batch.mean[...], batch.var[...])
            y, mean, var = nn.batch_norm(
                x, *parameters, training=not batch.use_running_average, profile="flax"
            )
            if not batch.use_running_average:
                batch.mean[...], batch.var[...] = mean, var
            return nn.linear(y, second.kernel[...].T, second.bias[...])

    def run(kind):
        model = kind(nnx.Rngs(0))
        nnx.update(model, randomised(nnx.state(model, nnx.Param)))
        found = []
        for training in (True, True, False):
            model.train() if training else model.eval()

            @nnx.jit
            def step(model, x):
                return nnx.value_and_grad(lambda m, x: (m(x) * DY).sum(), argnums=(0, 1))(model, x)

            value, grads = step(model, jnp.asarray(X))
            found += [value, *jax.tree.leaves(grads)]
            found += jax.tree.leaves(nnx.state(model, nnx.BatchStat))
        return found

    got, want = strict(run, Ours), relaxed(run, Theirs)
    assert len(got) == len(want) > 30
    for g, w in zip(got, want, strict=True):
        close(g, w)


def test_nnx_module_around_a_bpx_layer(nnx):
    """A bpx layer's dict as an nnx.Param, trained by nnx.Optimizer."""
    optax = pytest.importorskip("optax")
    layer = nn.Sequential(nn.Linear(4, 8), nn.tanh, nn.Linear(8, 3))

    class Model(nnx.Module):
        def __init__(self, key):
            self.params = nnx.Param(layer.init(key))

        def __call__(self, x):
            return layer.apply(self.params.get_value(), x)

    model = Model(1)
    optimizer = nnx.Optimizer(model, optax.adam(3e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        value, grads = nnx.value_and_grad(lambda m: jnp.square(m(X) - DY).mean())(model)
        optimizer.update(model, grads)
        return value

    values = [float(relaxed(step, model, optimizer)) for _ in range(60)]
    assert values[-1] < 0.1 * values[0]


@pytest.mark.parametrize("entry", ["gru", "lstm"])
def test_nnx_recurrence(nnx, entry):
    """nnx's cells scanned by nnx.RNN; LSTM and GRU have the gate order of the rules. flax has one
    bias where torch has two."""
    kind = {"lstm": nnx.LSTMCell, "gru": nnx.GRUCell}[entry]
    cell = kind(4, 3, param_dtype=jnp.float64, dtype=jnp.float64, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(cell, nnx.Param, ...)
    params = randomised(params)
    x = jnp.asarray(STEPS)
    h0 = tuple(jnp.asarray(rng.standard_normal((5, 3))) for _ in range(1 + (entry == "lstm")))

    def theirs(params, x, h0):
        layer = nnx.RNN(nnx.merge(graph, params, rest), time_major=True)
        carry = (h0[1], h0[0]) if entry == "lstm" else h0[0]  # flax: (c, h)
        return (layer(x, initial_carry=carry) * DSTEPS).sum()

    def ours(params, x, h0):
        cell = nnx.merge(graph, params, rest)
        if entry == "lstm":
            names = {"i": ("i", "f_", "g", "o"), "h": "ifgo"}  # "if" is a word of Python
            w_ih, w_hh = (
                jnp.concatenate([getattr(cell, a + g).kernel[...] for g in names[a]], 1).T
                for a in "ih"
            )
            bias = jnp.concatenate([getattr(cell, "h" + g).bias[...] for g in "ifgo"])
            return (nn.lstm(x, *h0, w_ih, w_hh, None, bias)[0] * DSTEPS).sum()
        w_ih, b_ih = cell.dense_i.kernel[...].T, cell.dense_i.bias[...]
        w_hh = cell.dense_h.kernel[...].T
        b_hh = getattr(cell.dense_h, "bias", None)
        return (
            nn.gru(x, *h0, w_ih, w_hh, b_ih, None if b_hh is None else b_hh[...]) * DSTEPS
        ).sum()

    def run(f):
        value, grads = jax.jit(jax.value_and_grad(f, (0, 1, 2)))(params, x, h0)
        return [value, *jax.tree.leaves(grads)]

    got, want = strict(run, ours), relaxed(run, theirs)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        close(g, w)


def test_equinox_network(eqx):
    class Theirs(eqx.Module):
        first: eqx.nn.Linear
        norm: eqx.nn.LayerNorm
        second: eqx.nn.Linear
        slope: float = eqx.field(static=True)

        def __init__(self, key):
            one, two = jax.random.split(key)
            self.first = eqx.nn.Linear(4, 6, key=one)
            self.norm = eqx.nn.LayerNorm(6)
            self.second = eqx.nn.Linear(6, 3, key=two)
            self.slope = 0.2

        def __call__(self, x):
            x = jax.vmap(lambda row: self.norm(self.first(row)))(x)
            return jax.vmap(self.second)(jax.nn.leaky_relu(x, self.slope))

    class Ours(Theirs):
        def __call__(self, x):
            x = nn.linear(x, self.first.weight, self.first.bias)
            x = nn.layer_norm(x, self.norm.weight, self.norm.bias)
            x = nn.leaky_relu(x, self.slope)
            return nn.linear(x, self.second.weight, self.second.bias)

    def run(kind):
        model = randomised(kind(jax.random.key(0)))
        f = eqx.filter_jit(eqx.filter_value_and_grad(lambda m, x: (m(x) * DY).sum()))
        value, grads = f(model, jnp.asarray(X))
        rows = eqx.filter_vmap(lambda row: model(row[None])[0])(jnp.asarray(X))
        return [value, rows, *jax.tree.leaves(grads)]

    got, want = strict(run, Ours), relaxed(run, Theirs)
    assert len(got) == len(want) == 8
    for g, w in zip(got, want, strict=True):
        close(g, w)


def test_linen_module(nnx):
    """flax.linen: parameters by self.param, with an initializer of bpx."""
    from flax import linen

    from bpx_jax import initializers

    class Layer(linen.Module):
        @linen.compact
        def __call__(self, x):
            weight = self.param("weight", initializers.xavier_uniform(), (3, 4))
            return nn.linear(x, weight, self.param("bias", initializers.zeros, (3,)))

    params = Layer().init(jax.random.key(0), X)
    g = jax.jit(jax.grad(lambda p: (Layer().apply(p, X) * DY).sum()))(params)["params"]
    close(g["weight"], DY.T @ X)
    close(g["bias"], DY.sum(0))
