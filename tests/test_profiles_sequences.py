"""Profiles of attention and recurrent layers against flax and keras, which lay arrays out in other
ways: value and every gradient in float64."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("flax")

from flax import nnx

from bpx.profiles import recurrent_parameters
from bpx.spec import SpecError
from bpx_jax import nn as J
from bpx_torch import functional as F
from bpx_torch import nn as N
from tests.libraries import close, keras, lenient, value_and_grads, value_and_grads_torch

pytestmark = pytest.mark.slow

jnp = jax.numpy
rng = np.random.default_rng(11)
Q, K, V = (rng.standard_normal((2, n, 3, 4)) for n in (5, 6, 6))
MASK = rng.uniform(size=(2, 1, 5, 6)) > 0.4
MASK[..., 0] = True  # a row without a key is another matter
DY = rng.standard_normal(Q.shape)

ATTENTION = {
    "flax": lambda q, k, v: nnx.dot_product_attention(q, k, v, mask=MASK),
    "keras": lambda q, k, v: keras.ops.dot_product_attention(
        q, k, v, mask=jnp.asarray(MASK), flash_attention=False
    ),
}


@pytest.mark.parametrize("profile", ATTENTION)
def test_attention(profile):
    want = value_and_grads(ATTENTION[profile], (Q, K, V), DY)
    bound = 2e-5  # both libraries have the softmax in float32, whatever they are asked for
    ours = partial(F.scaled_dot_product_attention, attn_mask=torch.tensor(MASK), profile=profile)
    close(value_and_grads_torch(ours, (Q, K, V), DY), want, bound)
    ours = partial(J.dot_product_attention, mask=jnp.asarray(MASK), profile=profile)
    close(value_and_grads(ours, (Q, K, V), DY), want, bound)


def test_attention_of_torch_in_jax():
    q, k, v, dy = (np.moveaxis(a, 2, 1).copy() for a in (Q, K, V, DY))
    theirs = torch.nn.functional.scaled_dot_product_attention
    want = value_and_grads_torch(partial(theirs, attn_mask=torch.tensor(MASK)), (q, k, v), dy)
    ours = partial(J.dot_product_attention, mask=jnp.asarray(MASK), profile="torch")
    close(value_and_grads(ours, (q, k, v), dy), want)
    for f in (F.scaled_dot_product_attention, J.dot_product_attention):
        a = torch.tensor(q) if f is F.scaled_dot_product_attention else q
        with pytest.raises(SpecError, match="heads_axis is 1, expected -3 or -2"):
            f(a, a, a, heads_axis=1)


def test_what_true_means_in_multihead_attention():
    """torch leaves out where a boolean mask is True, flax and keras keep; floats are added."""
    torch.manual_seed(0)
    x = torch.randn(4, 2, 6)
    own = N.MultiheadAttention(6, 2)
    other = N.MultiheadAttention(6, 2, profile="flax")
    other.load_state_dict(own.state_dict())
    mask = torch.tensor(MASK[0, 0, :4, :4])
    padding = torch.tensor([[False, False, False, True], [False, False, True, False]])
    want = own(x, x, x, attn_mask=mask, key_padding_mask=padding)
    got = other(x, x, x, attn_mask=~mask, key_padding_mask=~padding)
    close([a.detach() for a in got], [a.detach() for a in want], 1e-6)
    added = torch.zeros(4, 4).masked_fill(mask, -torch.inf)
    found = other(x, x, x, attn_mask=added), own(x, x, x, attn_mask=mask)
    close([found[0][0].detach()], [found[1][0].detach()], 1e-6)
    with lenient():  # and flax itself, with the same numbers in its layout
        layer = nnx.MultiHeadAttention(2, 6, rngs=nnx.Rngs(0), decode=False)
        w, b = own.in_proj_weight.detach().numpy(), own.in_proj_bias.detach().numpy()
        for i, part in enumerate((layer.query, layer.key, layer.value)):
            rows = slice(6 * i, 6 * i + 6)
            part.kernel.set_value(jnp.asarray(w[rows].T.reshape(6, 2, 3)))
            part.bias.set_value(jnp.asarray(b[rows].reshape(2, 3)))
        out = own.out_proj.weight.detach().numpy()
        layer.out.kernel.set_value(jnp.asarray(out.T.reshape(2, 3, 6)))
        layer.out.bias.set_value(jnp.asarray(own.out_proj.bias.detach().numpy()))
        theirs = layer(jnp.asarray(x.numpy().swapaxes(0, 1)), mask=jnp.asarray(~mask.numpy()))
    got = other(x, x, x, attn_mask=~mask)[0].detach().numpy().swapaxes(0, 1)
    close([got], [theirs], 1e-5)


FEATURES, H, T, BATCH = 3, 4, 5, 2
X, H0, C0 = (rng.standard_normal(s) for s in ((BATCH, T, FEATURES), (BATCH, H), (BATCH, H)))
DH = rng.standard_normal((BATCH, T, H))


def weights(gates, bias):
    return [rng.standard_normal(s) for s in ((FEATURES, gates * H), (H, gates * H), bias)]


def flax_cell(kind, gates, bias_of):
    def run(x, h0, c0, w_ih, w_hh, b):
        cell = kind(FEATURES, H, dtype=np.float64, param_dtype=np.float64, rngs=nnx.Rngs(0))
        cell.dense_i.kernel.set_value(w_ih)
        cell.dense_h.kernel.set_value(w_hh)
        getattr(cell, bias_of).bias.set_value(b)
        carry, rows = (c0, h0) if gates == 4 else h0, []
        for t in range(T):
            carry, y = cell(carry, x[:, t])
            rows.append(y)
        return jnp.stack(rows, 1)

    return run


def keras_layer(kind, gates):
    def run(x, h0, c0, w_ih, w_hh, b):
        layer = kind(H, return_sequences=True, dtype="float64", use_cudnn=False)
        layer.build(x.shape)
        states = [h0, c0] if gates == 4 else [h0]
        given = ([w_ih, w_hh, b], layer.non_trainable_variables, x)
        return layer.stateless_call(*given, initial_state=states)[0]

    return run


LAYERS = {
    ("lstm", "flax"): (flax_cell(nnx.OptimizedLSTMCell, 4, "dense_h"), 4, (4 * H,)),
    ("lstm", "keras"): (keras_layer(keras.layers.LSTM, 4), 4, (4 * H,)),
    ("gru", "flax"): (flax_cell(nnx.GRUCell, 3, "dense_i"), 3, (3 * H,)),
    ("gru", "keras"): (keras_layer(keras.layers.GRU, 3), 3, (2, 3 * H)),
}


@pytest.mark.parametrize(("entry", "profile"), LAYERS, ids=str)
def test_recurrent(entry, profile):
    theirs, gates, bias = LAYERS[entry, profile]
    arrays = (X, H0, C0, *weights(gates, bias))
    want = value_and_grads(theirs, arrays, DH)

    def ours(x, h0, c0, w_ih, w_hh, b):
        x = jnp.swapaxes(x, 0, 1)
        states = (h0, c0) if entry == "lstm" else (h0,)
        y = getattr(J, entry)(x, *states, w_ih, w_hh, b, profile=profile)
        return jnp.swapaxes(y[0] if entry == "lstm" else y, 0, 1)

    bound = 1e-11 if profile == "flax" else 1e-5  # keras computes in float32
    close(value_and_grads(ours, arrays, DH), want, bound)

    def in_torch(x, h0, c0, w_ih, w_hh, b):
        rows = recurrent_parameters(entry, profile, w_ih, w_hh, b)
        kind = N.LSTM if entry == "lstm" else N.GRU
        layer = kind(FEATURES, H, batch_first=True, dtype=torch.float64)
        zeros = torch.zeros(gates * H, dtype=torch.float64)
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        named = dict(zip(names, rows, strict=True))
        named = {k: zeros if v is None else v for k, v in named.items()}
        states = (h0[None], c0[None]) if entry == "lstm" else h0[None]
        return torch.func.functional_call(layer, named, (x, states))[0]

    if entry == "lstm":
        close(value_and_grads_torch(in_torch, arrays, DH), want, bound)
    else:  # the GRU has no c0
        given = (*arrays[:2], *arrays[3:])
        found = value_and_grads_torch(lambda x, h, *w: in_torch(x, h, None, *w), given, DH)
        close(found, [a for i, a in enumerate(want) if i != 3], bound)


def test_parameters_of_torch_are_as_they_are():
    w = [rng.standard_normal(s) for s in ((12, 3), (12, 4), 12, 12)]
    for got, want in zip(recurrent_parameters("gru", "torch", *w), w, strict=True):
        np.testing.assert_array_equal(got, want)
    with pytest.raises(SpecError, match=r"gru: profile is 'optax', expected one of"):
        recurrent_parameters("gru", "optax", *w)
