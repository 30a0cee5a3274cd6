"""What cannot be carried over is refused in one sentence, and the target is what it was."""

import copy

import numpy as np
import pytest

from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
nnx = pytest.importorskip("flax.nnx")
E = pytest.importorskip("equinox").nn
optax = pytest.importorskip("optax")
jnp = jax.numpy

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti

T, KEY = torch.nn, jax.random.key(1)
F64 = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}


def described(layer):
    return ti.weights(layer.double())


# what is wrong -> (torch's layer, nnx's, the sentence)
NNX = {
    "another eps": (
        T.LayerNorm(4),
        lambda: nnx.LayerNorm(4, **F64),
        r"layer_norm\): eps is 1e-06 in flax.nnx, expected 1e-05, as in torch",
    ),
    "momentum": (
        T.BatchNorm1d(4),
        lambda: nnx.BatchNorm(4, **F64),
        r"batch_norm\): momentum is 0.01\d* in flax.nnx, expected 0.1",
    ),
    "padding": (
        T.Conv1d(2, 3, 3),
        lambda: nnx.Conv(2, 3, (3,), **F64),
        r"conv\): padding is \[\[1, 1\]\] in flax.nnx, expected \[\[0, 0\]\]",
    ),
    "stride": (
        T.Conv1d(2, 3, 3),
        lambda: nnx.Conv(2, 3, (3,), strides=2, padding="VALID", **F64),
        r"conv\): stride is \[2\] in flax.nnx, expected \[1\]",
    ),
    "padding_idx": (
        T.Embedding(4, 3, padding_idx=1),
        lambda: nnx.Embed(4, 3, **F64),
        r"embedding\): padding_idx is None in flax.nnx, expected 1",
    ),
    "heads": (
        T.MultiheadAttention(4, 2),
        lambda: nnx.MultiHeadAttention(4, 4, **F64),
        r"attention\): heads is 4 in flax.nnx, expected 2",
    ),
    "nonlinearity": (
        T.RNNCell(4, 2, nonlinearity="relu"),
        lambda: nnx.SimpleCell(4, 2, **F64),
        r"rnn_cell\): nonlinearity is 'tanh' in flax.nnx, expected 'relu'",
    ),
    "another layer": (
        T.Linear(4, 4),
        lambda: nnx.LayerNorm(4, **F64),
        r"\(linear\): the target is layer_norm, expected linear of flax.nnx",
    ),
    "no such layer": (
        T.Bilinear(2, 3, 4),
        lambda: nnx.Linear(2, 3, **F64),
        r"\(Bilinear\): the target is linear, expected Bilinear",
    ),
    "a missing array": (
        T.Linear(4, 3, bias=False),
        lambda: nnx.Linear(4, 3, **F64),
        "convert: bias is missing",
    ),
    "a surplus array": (
        T.Linear(4, 3),
        lambda: nnx.Linear(4, 3, use_bias=False, **F64),
        "convert: bias is not expected",
    ),
    "another shape": (
        T.Linear(4, 3),
        lambda: nnx.Linear(3, 4, **F64),
        r"kernel is float64 \(4, 3\), expected float64 \(3, 4\)|bias is float64 \(3,\)",
    ),
    "another dtype": (
        T.Linear(4, 3),
        lambda: nnx.Linear(4, 3, rngs=nnx.Rngs(0)),
        r"is float64 .*, expected float32",
    ),
    "groups": (
        T.ConvTranspose1d(2, 2, 3, groups=2),
        lambda: nnx.ConvTranspose(2, 2, (3,), padding="VALID", **F64),
        r"groups is 1 in flax.nnx, expected 2",
    ),
    "statistics of InstanceNorm": (
        T.InstanceNorm1d(3, affine=True, track_running_stats=True),
        lambda: nnx.InstanceNorm(3, epsilon=1e-5, **F64),
        "convert: running_mean has no place in flax.nnx",
    ),
    "two axes": (
        T.LayerNorm((3, 4), eps=1e-6),
        lambda: nnx.LayerNorm(4, **F64),
        r"shape is \[4\] in flax.nnx, expected \[3, 4\]",
    ),
    "gates": (
        T.LSTMCell(3, 2),
        lambda: nnx.LSTMCell(3, 2, gate_fn=jax.nn.hard_sigmoid, **F64),
        "gate_fn or activation_fn is another function",
    ),
    "a mask": (
        T.Conv1d(2, 3, 3),
        lambda: nnx.Conv(2, 3, (3,), padding="VALID", mask=jnp.ones((3, 2, 3)), **F64),
        "mask is set, expected None",
    ),
    "the way round": (
        T.RNN(3, 2),
        lambda: nnx.RNN(nnx.SimpleCell(3, 2, **F64), reverse=True),
        "reverse is True, expected False",
    ),
    "slopes": (
        T.PReLU(3),
        lambda: nnx.PReLU(param_dtype=jnp.float64),
        "weight has 3 elements, expected 1",
    ),
    "GRU's second bias": (
        T.GRUCell(3, 2),
        lambda: nnx.GRUCell(3, 2, **F64),
        "bias_hh is not 0 for the gate n, expected 0",
    ),
}


def frozen(module):
    return [np.array(a) for a in jax.tree.leaves(nnx.state(module, nnx.Param, nnx.BatchStat))]


@pytest.mark.parametrize("what", NNX)
def test_nnx_module_that_computes_something_else(what):
    layer, make, sentence = NNX[what]
    module = make()
    before = frozen(module)
    with pytest.raises(SpecError, match=sentence):
        ji.to_nnx(described(layer), module)
    for a, b in zip(before, frozen(module), strict=True):
        np.testing.assert_array_equal(a, b)


EQUINOX = {
    "another mode": (
        T.BatchNorm1d(3),
        lambda: E.BatchNorm(3, "b", mode="ema"),
        "mode is 'ema', expected 'batch'",
    ),
    "no state": (
        T.BatchNorm1d(3),
        lambda: E.BatchNorm(3, "b", momentum=0.9, mode="batch"),
        "keeps statistics, expected a state beside the model",
    ),
    "a bias too many": (
        T.RMSNorm(3, eps=1e-5),
        lambda: E.RMSNorm(3, eps=1e-5),
        "bias is missing",
    ),
    "no such cell": (T.RNNCell(3, 2), lambda: E.GRUCell(3, 2, key=KEY), "expected rnn_cell"),
}


@pytest.mark.parametrize("what", EQUINOX)
def test_equinox_model_that_computes_something_else(what):
    layer, make, sentence = EQUINOX[what]
    with pytest.raises(SpecError, match=sentence):
        ji.to_equinox(described(layer), make())


TORCH = {
    "parametrized": (
        lambda: T.utils.parametrizations.weight_norm(T.Linear(2, 2)),
        "the model is parametrized, expected plain weights",
    ),
    "projections": (lambda: T.LSTM(3, 4, proj_size=2), "proj_size is 2, expected 0"),
    "momentum": (lambda: T.BatchNorm1d(2, momentum=None), "momentum is None, expected a number"),
    "max_norm": (lambda: T.Embedding(2, 2, max_norm=1.0), "max_norm, scale_grad_by_freq or sparse"),
    "bias_kv": (lambda: T.MultiheadAttention(4, 2, add_bias_kv=True), "add_bias_kv or add_zero"),
    "complex": (lambda: T.Linear(2, 2, dtype=torch.complex64), "dtype complex64, expected one of"),
    "float8": (
        lambda: T.Linear(2, 2).to(torch.float8_e5m2),
        "has dtype torch.float8_e5m2, expected a number",
    ),
    "no module": (lambda: [1], "model is list, expected a torch.nn.Module"),
}


@pytest.mark.parametrize("what", TORCH)
def test_torch_model(what):
    make, sentence = TORCH[what]
    with pytest.raises(SpecError, match=sentence):
        ti.weights(make())


class Tied(T.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = T.Embedding(5, 3), T.Linear(3, 5, bias=False)
        self.head.weight = self.words.weight


def test_tied_weights():
    model = Tied()
    weights = ti.weights(model)
    assert dict(weights.structure.tied) == {"head.weight": "words.weight"}
    ti.load_weights(Tied(), weights)
    with pytest.raises(SpecError, match=r"ties head.weight to words.weight, expected no ties"):
        ji.to_plain(weights)
    loose = Tied()
    loose.head.weight = T.Parameter(torch.zeros(5, 3))
    with pytest.raises(SpecError, match=r"head.weight is missing"):
        ti.load_weights(loose, weights)


def test_torch_target_is_left_alone():
    model = T.Sequential(T.Linear(3, 2), T.LayerNorm(2))
    weights = ti.weights(model)
    others = {
        "1: 0.weight": T.Sequential(T.Linear(4, 2), T.LayerNorm(2)),
        "2: 0.weight is F32": T.Sequential(T.Linear(3, 2), T.LayerNorm(2)).double(),
        "3: 1.bias is not expected": T.Sequential(T.Linear(3, 2), T.LayerNorm(2, bias=False)),
        "4: 1 is layer_norm": T.Sequential(T.Linear(3, 2), T.LayerNorm(2, eps=0.1)),
        "5: 2.weight, 2.bias|2.bias, 2.weight": T.Sequential(*copy.deepcopy(model), T.Linear(2, 2)),
    }
    for sentence, other in others.items():
        before = copy.deepcopy(other.state_dict())
        with pytest.raises(SpecError, match=sentence[3:]):
            ti.load_weights(other, weights)
        assert all(torch.equal(a, before[n]) for n, a in other.state_dict().items())
