"""Layers with parameters as plain dicts: against torch's modules, their first values, and under
JAX's transformations."""

import numpy as np
import pytest

import bpx
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jnp = jax.numpy

from bpx import random
from bpx.initializers._draw import draw
from bpx_jax import nn

T = torch.nn
PAIRS = {
    "Linear": (nn.Linear(4, 3), T.Linear(4, 3), (5, 4)),
    "Linear, no bias": (nn.Linear(4, 3, bias=False), T.Linear(4, 3, bias=False), (2, 5, 4)),
    "Conv 1d": (nn.Conv(4, 6, (3,), groups=2), T.Conv1d(4, 6, 3, groups=2), (2, 4, 7)),
    "Conv 2d": (
        nn.Conv(2, 3, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2)),
        T.Conv2d(2, 3, (3, 2), 2, (1, 0), (1, 2)),
        (2, 2, 6, 5),
    ),
    "ConvTranspose": (
        nn.ConvTranspose(4, 6, (3, 2), stride=2, output_padding=1, groups=2),
        T.ConvTranspose2d(4, 6, (3, 2), 2, output_padding=1, groups=2),
        (2, 4, 3, 4),
    ),
    "LayerNorm": (nn.LayerNorm(5, eps=0.3), T.LayerNorm(5, eps=0.3), (2, 3, 5)),
    "RMSNorm": (nn.RMSNorm(5, eps=0.3), T.RMSNorm(5, eps=0.3), (2, 3, 5)),
    "GroupNorm": (nn.GroupNorm(2, 6, eps=0.3), T.GroupNorm(2, 6, eps=0.3), (3, 6, 4)),
    "InstanceNorm": (nn.InstanceNorm(3, affine=True), T.InstanceNorm1d(3, affine=True), (2, 3, 5)),
    "MultiheadAttention": (nn.MultiheadAttention(6, 2), T.MultiheadAttention(6, 2), (2, 4, 6)),
    "RNN": (nn.RNN(4, 3, nonlinearity="relu"), T.RNN(4, 3, nonlinearity="relu"), (5, 2, 4)),
    "GRU": (nn.GRU(4, 3, 2, bias=False), T.GRU(4, 3, 2, bias=False), (5, 2, 4)),
    "LSTM": (
        nn.LSTM(4, 3, 2, batch_first=True, bidirectional=True),
        T.LSTM(4, 3, 2, batch_first=True, bidirectional=True),
        (2, 5, 4),
    ),
}
rng = np.random.default_rng(3)


def randn(*shape):
    return rng.standard_normal(shape)


def moved(theirs, ours):
    """Random parameters of torch's module, and the same as a dict."""
    theirs.double()
    for p in theirs.parameters():
        p.data = torch.tensor(randn(*p.shape))
    state = {n: p.detach().numpy() for n, p in theirs.named_parameters()}
    return nn.nested(state, like=ours.init(0))


def of_torch(module, x, **given):
    x = torch.tensor(x, requires_grad=True)
    if isinstance(module, T.MultiheadAttention):
        module.batch_first = True
        given |= {"key": x, "value": x, "need_weights": False}
    y = module(x, **given)
    y = y[0] if isinstance(y, tuple) else y
    dy = torch.tensor(np.cos(np.arange(y.numel())).reshape(y.shape))
    grads = torch.autograd.grad(y, [x, *module.parameters()], dy)
    names = ["", *(n for n, _ in module.named_parameters())]
    return y.detach().numpy(), dict(zip(names, (g.numpy() for g in grads), strict=True))


def of_jax(apply, params, x):
    def f(params, x):
        y = apply(params, x)
        y = y[0] if isinstance(y, tuple) else y
        dy = np.cos(np.arange(y.size)).reshape(y.shape)
        return (y * dy).sum(), y

    (dparams, dx), y = jax.jit(jax.grad(f, (0, 1), has_aux=True))(params, jnp.asarray(x))
    return y, {"": dx, **nn.flat(dparams)}


def agree(got, want):
    np.testing.assert_allclose(got[0], want[0], rtol=1e-11, atol=1e-12)
    assert set(got[1]) == set(want[1])
    for name, g in want[1].items():
        np.testing.assert_allclose(got[1][name], g, rtol=1e-10, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("name", PAIRS)
def test_against_torch(name):
    ours, theirs, shape = PAIRS[name]
    params = moved(theirs, ours)
    x = randn(*shape)
    agree(of_jax(ours.apply, params, x), of_torch(theirs, x))


@pytest.mark.parametrize("name", PAIRS)
def test_first_values(name):
    """The bits of bpx's NumPy initializer at fold_in(key, i); the limits of torch's."""
    ours, theirs, _ = PAIRS[name]
    params = nn.flat(ours.init(7, jnp.float32))
    torch.manual_seed(0)
    theirs = {
        n: p.detach().float() for n, p in type(theirs)(*_arguments(theirs)).named_parameters()
    }
    assert set(params) == set(ours.shapes())
    entries = {e.name: e for e in bpx.INITIALIZERS}
    for i, (part, shape) in enumerate(ours.shapes().items()):
        entry, options = ours.initializer(part)
        want = draw(entries[entry], random.fold_in(random.key(7), i), shape, **options)
        np.testing.assert_array_equal(params[part], want.astype(np.float32))
        if part in theirs and theirs[part].shape == shape:
            high, limit = (float(abs(np.asarray(p)).max()) for p in (params[part], theirs[part]))
            assert (high == limit) if limit in (0, 1) else 0.5 < high / limit < 2


def _arguments(module):
    """Constructor arguments enough for torch's own first values."""
    names = {
        T.Linear: "in_features out_features bias",
        T.LayerNorm: "normalized_shape",
        T.RMSNorm: "normalized_shape",
        T.GroupNorm: "num_groups num_channels",
        T.MultiheadAttention: "embed_dim num_heads",
        T.InstanceNorm1d: "num_features eps momentum affine",
    }
    convolutional = "in_channels out_channels kernel_size"
    for kind in (T.RNN, T.GRU, T.LSTM):
        names[kind] = "input_size hidden_size num_layers"
    found = [getattr(module, n) for n in names.get(type(module), convolutional).split()]
    if type(module) is T.Linear:
        found[2] = found[2] is not None
    return found


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_lengths_against_torch(kind):
    """Padded sequences against torch's packed ones: outputs, states at each sequence's own end,
    gradients of x, parameters and initial states."""
    options = {"num_layers": 2, "bidirectional": True}
    ours, theirs = getattr(nn, kind)(4, 3, **options), getattr(T, kind)(4, 3, **options)
    params = moved(theirs, ours)
    x, lengths = randn(5, 3, 4), [2, 5, 3]
    hx = tuple(randn(4, 3, 3) for _ in range(1 + (kind == "LSTM")))
    dys = [randn(5, 3, 6), *(randn(4, 3, 3) for _ in hx)]

    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *hx)]
    pack = T.utils.rnn.pack_padded_sequence(leaves[0], lengths, enforce_sorted=False)
    y, finals = theirs(pack, leaves[1] if len(hx) == 1 else tuple(leaves[1:]))
    outputs = [T.utils.rnn.pad_packed_sequence(y)[0], *([finals] if len(hx) == 1 else finals)]
    wanted = [*leaves, *theirs.parameters()]
    want = [*outputs, *torch.autograd.grad(outputs, wanted, [torch.tensor(d) for d in dys])]

    def f(x, hx, params, lengths):
        y, finals = ours.apply(params, x, hx[0] if len(hx) == 1 else hx, lengths)
        return y, *((finals,) if len(hx) == 1 else finals)

    def run(x, hx, params, lengths):
        outputs, pull = jax.vjp(lambda *a: f(*a, lengths), x, hx, params)
        dx, dhx, dparams = pull(tuple(jnp.asarray(d) for d in dys))
        return [*outputs, dx, *dhx, dparams]

    arrays = (jnp.asarray(x), tuple(map(jnp.asarray, hx)), params)
    *got, dparams = jax.jit(run)(*arrays, jnp.asarray(lengths))
    got += [dparams[n] for n, _ in theirs.named_parameters()]
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w.detach().numpy(), rtol=1e-10, atol=1e-11)
    each = jax.jit(jax.vmap(lambda x, hx, n: f(x, hx, params, n), in_axes=(1, (1,) * len(hx), 0)))(
        *arrays[:2], jnp.asarray(lengths)
    )  # one sequence at a time
    np.testing.assert_allclose(np.moveaxis(each[0], 0, 1), got[0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(np.moveaxis(each[1], 0, 1), got[1], rtol=1e-11, atol=1e-12)


def test_lengths_at_their_limits():
    layer = nn.LSTM(4, 3, bidirectional=True)
    params, x = layer.init(1), jnp.asarray(randn(5, 2, 4))
    with pytest.raises(SpecError, match="lstm: lengths holds 6, expected 0 <= lengths < 6"):
        layer.apply(params, x, None, jnp.asarray([2, 6]))
    with pytest.raises(SpecError, match=r"lstm: lengths has shape \(3,\), but dim B is 2"):
        nn.lstm(x, *jnp.zeros((2, 2, 3)), *_weights(params), lengths=jnp.asarray([1, 2, 3]))
    hx = (jnp.asarray(randn(2, 2, 3)), jnp.asarray(randn(2, 2, 3)))
    y, (h, c) = layer.apply(params, x, hx, jnp.asarray([0, 5]))
    assert not y[:, 0].any()
    np.testing.assert_array_equal(h[:, 0], hx[0][:, 0])
    np.testing.assert_array_equal(c[:, 0], hx[1][:, 0])
    bad = jax.jit(lambda n: layer.apply(params, x, hx, n)[0])(jnp.asarray([6, 5]))
    assert np.isnan(bad[:, 0]).all()  # where the value is not known, as for every index
    assert np.isfinite(bad[:, 1]).all()


def _weights(params):
    return [params[f"{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def test_dropout_of_a_recurrent_network_and_its_errors():
    layer = nn.GRU(4, 3, 3, dropout=0.5)
    params, x = layer.init(1), jnp.asarray(randn(5, 2, 4))
    plain, again = (layer.apply(params, x, key=k)[0] for k in (None, 4))
    np.testing.assert_array_equal(plain, again)
    one, same, other = (layer.apply(params, x, key=k, training=True)[0] for k in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert abs(one - other).max() > 1e-3
    assert abs(one - plain).max() > 1e-3
    with pytest.raises(SpecError, match="gru: key is None, expected a key in training"):
        layer.apply(params, x, training=True)
    with pytest.raises(SpecError, match=r"gru: hx has shape \(1, 2, 3\), expected \(3, 2, 3\)"):
        layer.apply(params, x, jnp.zeros((1, 2, 3)))
    with pytest.raises(SpecError, match=r"gru: x has shape \(4,\), expected \(T B I\)"):
        layer.apply(params, x[0, 0])
