"""The layers that torch, flax.nnx and equinox have, with the same options, and how each is called
on torch's x."""

import equinox as eqx
import jax
import jax.numpy as jnp
import torch
from flax import nnx

T, E, KEY = torch.nn, eqx.nn, jax.random.key(3)
F64 = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
EPS = {"epsilon": 0.3, "use_fast_variance": False, **F64}
TURNED = {"strides": 2, "kernel_dilation": (1, 2), "padding": [(1, 2), (2, 2)]}
TORCH_TURNED = {"stride": 2, "dilation": (1, 2), "padding": (1, 0), "output_padding": (1, 0)}
CONV = {"strides": (2, 1), "padding": ((1, 1), (0, 0)), "kernel_dilation": (1, 2)}
TORCH_CONV = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
RELU = {"activation_fn": jax.nn.relu}


def nnx_cell(kind, i=4, h=3, **options):
    return kind(i, h, dtype=jnp.float64, **options, **F64)


def nnx_rnn(kind, **options):
    return nnx.RNN(nnx_cell(kind, **options))


def both_ways(kind, i):
    runs = [nnx.RNN(nnx_cell(kind, i)) for _ in range(2)]
    return nnx.Bidirectional(*runs)


def kept(eps=0.3, momentum=0.75):
    return eqx.nn.BatchNorm(3, "batch", eps, momentum=momentum, mode="batch", dtype=jnp.float64)


def last(module, x):
    """A channels-last module on torch's channels-first input."""
    return jnp.moveaxis(module(jnp.moveaxis(x, 1, -1)), -1, 1)


def rows(module, x):
    return jax.vmap(module)(x)


def each_row(module, x):
    return jax.vmap(jax.vmap(module))(x)


def steps(module, x):
    """A cell of equinox over the sequence of each batch row."""

    def one(xs):
        zero = jnp.zeros(3)
        pair = isinstance(module, E.LSTMCell)

        def step(h, x):
            h = module(x, h)
            return h, h[0] if pair else h

        return jax.lax.scan(step, (zero, zero) if pair else zero, xs)[1]

    return jax.vmap(one)(x)


def normed(pair, x):
    model, state = pair
    f = jax.vmap(lambda x: model(x, state, inference=True)[0], axis_name="batch")
    return f(x)


def itself(module, x):
    return module(x)


def attended(module, x):
    return jax.vmap(lambda x: module(x, x, x))(x)


def once(cell, x):
    return cell(jnp.zeros((len(x), 3)), x)[1]


def attention(q, k, v, **options):
    """softmax(q k') v of (B T H D) in float64; flax's own has its softmax in float32."""
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / q.shape[-1] ** 0.5
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v)


WIDE = {"attention_fn": attention, "decode": False}
HALVES = {"use_query_bias": True, "use_key_bias": True, "use_value_bias": True}
BIASED = {**HALVES, "use_output_bias": True, "dtype": jnp.float64}

# name -> (torch's, shape of x, nnx's and how to call it, equinox's and how to call it)
LAYERS = {
    "Linear": (
        lambda: T.Linear(4, 3),
        (5, 4),
        (lambda: nnx.Linear(4, 3, **F64), itself),
        (lambda: E.Linear(4, 3, key=KEY), rows),
    ),
    "Linear, no bias": (
        lambda: T.Linear(4, 3, bias=False),
        (5, 4),
        (lambda: nnx.Linear(4, 3, use_bias=False, **F64), itself),
        (lambda: E.Linear(4, 3, use_bias=False, key=KEY), rows),
    ),
    "Conv1d": (
        lambda: T.Conv1d(4, 6, 3, padding="same", groups=2),
        (2, 4, 7),
        (lambda: nnx.Conv(4, 6, (3,), feature_group_count=2, **F64), last),
        (lambda: E.Conv1d(4, 6, 3, padding="SAME", groups=2, key=KEY), rows),
    ),
    "Conv2d": (
        lambda: T.Conv2d(2, 3, (3, 2), **TORCH_CONV),
        (2, 2, 6, 5),
        (lambda: nnx.Conv(2, 3, (3, 2), **CONV, **F64), last),
        (lambda: E.Conv2d(2, 3, (3, 2), **TORCH_CONV, key=KEY), rows),
    ),
    "Conv3d": (
        lambda: T.Conv3d(2, 3, (2, 1, 3)),
        (2, 2, 3, 2, 4),
        (lambda: nnx.Conv(2, 3, (2, 1, 3), padding="VALID", **F64), last),
        (lambda: E.Conv3d(2, 3, (2, 1, 3), padding="VALID", key=KEY), rows),
    ),
    "ConvTranspose2d": (
        lambda: T.ConvTranspose2d(4, 6, (3, 2), **TORCH_TURNED),
        (2, 4, 3, 4),
        (lambda: nnx.ConvTranspose(4, 6, (3, 2), **TURNED, **F64), last),
        (lambda: E.ConvTranspose2d(4, 6, (3, 2), **TORCH_TURNED, key=KEY), rows),
    ),
    "ConvTranspose1d": (
        lambda: T.ConvTranspose1d(4, 3, 3, stride=2),
        (2, 4, 5),
        (
            lambda: nnx.ConvTranspose(
                4, 3, (3,), strides=2, padding="VALID", transpose_kernel=True, **F64
            ),
            last,
        ),
        (lambda: E.ConvTranspose1d(4, 3, 3, stride=2, key=KEY), rows),
    ),
    "ConvTranspose1d, groups": (
        lambda: T.ConvTranspose1d(4, 6, 3, groups=2),
        (2, 4, 5),
        None,
        (lambda: E.ConvTranspose1d(4, 6, 3, groups=2, key=KEY), rows),
    ),
    "Embedding": (
        lambda: T.Embedding(7, 3),
        None,
        (lambda: nnx.Embed(7, 3, **F64), itself),
        (lambda: E.Embedding(7, 3, key=KEY), each_row),
    ),
    "LayerNorm": (
        lambda: T.LayerNorm(5, eps=0.3),
        (2, 5),
        (lambda: nnx.LayerNorm(5, **EPS), itself),
        (lambda: E.LayerNorm(5, eps=0.3), rows),
    ),
    "LayerNorm, two axes": (
        lambda: T.LayerNorm((3, 5), eps=0.3),
        (2, 3, 5),
        None,
        (lambda: E.LayerNorm((3, 5), eps=0.3), rows),
    ),
    "RMSNorm": (
        lambda: T.RMSNorm(5, eps=0.3),
        (2, 5),
        (lambda: nnx.RMSNorm(5, **EPS), itself),
        (lambda: E.RMSNorm(5, eps=0.3, use_bias=False), rows),
    ),
    "GroupNorm": (
        lambda: T.GroupNorm(2, 6, eps=0.3),
        (3, 6, 4),
        (lambda: nnx.GroupNorm(6, num_groups=2, **EPS), last),
        (lambda: E.GroupNorm(2, 6, eps=0.3), rows),
    ),
    "InstanceNorm": (
        lambda: T.InstanceNorm1d(3, eps=0.3, affine=True),
        (2, 3, 5),
        (lambda: nnx.InstanceNorm(3, **EPS), last),
        None,
    ),
    "BatchNorm": (
        lambda: T.BatchNorm1d(3, eps=0.3, momentum=0.25),
        (5, 3),
        (lambda: nnx.BatchNorm(3, momentum=0.75, use_running_average=True, **EPS), itself),
        (lambda: E.make_with_state(kept)(), normed),
    ),
    "MultiheadAttention": (
        lambda: T.MultiheadAttention(8, 2, batch_first=True),
        (2, 4, 8),
        (lambda: nnx.MultiHeadAttention(2, 8, **WIDE, **F64), itself),
        (lambda: E.MultiheadAttention(2, 8, **BIASED, key=KEY), attended),
    ),
    "MultiheadAttention, no bias": (
        lambda: T.MultiheadAttention(12, 3, bias=False, batch_first=True),
        (2, 4, 12),
        (lambda: nnx.MultiHeadAttention(3, 12, use_bias=False, **WIDE, **F64), itself),
        (lambda: E.MultiheadAttention(3, 12, key=KEY), attended),
    ),
    "PReLU": (
        lambda: T.PReLU(),
        (5, 4),
        (lambda: nnx.PReLU(param_dtype=jnp.float64), itself),
        (lambda: E.PReLU(jnp.float64(0.1)), rows),
    ),
    "LSTM": (
        lambda: T.LSTM(4, 3, batch_first=True),
        (2, 5, 4),
        (lambda: nnx_rnn(nnx.OptimizedLSTMCell), itself),
        (lambda: E.LSTMCell(4, 3, key=KEY), steps),
    ),
    "LSTM, separate gates": (
        lambda: T.LSTM(4, 3, batch_first=True),
        (2, 5, 4),
        (lambda: nnx_rnn(nnx.LSTMCell), itself),
        None,
    ),
    "LSTM, two layers both ways": (
        lambda: T.LSTM(4, 3, 2, batch_first=True, bidirectional=True),
        (2, 5, 4),
        (
            lambda: nnx.Sequential(*(both_ways(nnx.OptimizedLSTMCell, i) for i in (4, 6))),
            itself,
        ),
        None,
    ),
    "GRU": (
        lambda: T.GRU(4, 3, batch_first=True),
        (2, 5, 4),
        (lambda: nnx_rnn(nnx.GRUCell), itself),
        (lambda: E.GRUCell(4, 3, key=KEY), steps),
    ),
    "RNN": (
        lambda: T.RNN(4, 3, batch_first=True),
        (2, 5, 4),
        (lambda: nnx_rnn(nnx.SimpleCell), itself),
        None,
    ),
    "RNNCell, relu": (
        lambda: T.RNNCell(4, 3, nonlinearity="relu"),
        (2, 4),
        (lambda: nnx_cell(nnx.SimpleCell, **RELU), once),
        None,
    ),
}
