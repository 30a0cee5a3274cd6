"""The face of jax.nn against jax.nn itself."""

import importlib
import inspect
from functools import partial

import numpy as np
import pytest

from bpx.spec import SpecError

jax = pytest.importorskip("jax")
nn = importlib.import_module("bpx_jax.nn")

NAMES = """relu relu6 sigmoid softplus silu swish soft_sign log_sigmoid leaky_relu hard_sigmoid
    hard_silu hard_swish hard_tanh elu celu selu gelu mish tanh softmax log_softmax sparse_plus
    sparse_sigmoid squareplus""".split()
LOUD = {
    "gelu": {"approximate": False},
    "elu": {"alpha": 0.3},
    "celu": {"alpha": 0.3},
    "leaky_relu": {"negative_slope": 0.3},
    "softmax": {"axis": 0},
    "log_softmax": {"axis": 0},
}


@pytest.mark.parametrize("name", NAMES)
def test_signature(name):
    ours, theirs = (
        list(inspect.signature(getattr(m, name)).parameters.values()) for m in (nn, jax.nn)
    )
    of = [[(p.name, p.kind, p.default) for p in ps] for ps in (ours, theirs)]
    assert of[0] == of[1]


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient(name):
    rng = np.random.default_rng(5)
    x, dy = (
        jax.numpy.asarray(rng.normal(size=(3, 7)) * 3),
        jax.numpy.asarray(rng.normal(size=(3, 7))),
    )
    for options in ({}, LOUD.get(name, {})):
        (y, grad), (want, want_grad) = (
            (y, pull(dy)[0])
            for y, pull in (jax.vjp(partial(getattr(m, name), **options), x) for m in (nn, jax.nn))
        )
        np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(grad, want_grad, rtol=1e-12, atol=1e-13)


def test_gaps():
    library = {n for n, f in vars(jax.nn).items() if callable(f) and not n.startswith("_")}
    assert set(NAMES) <= set(nn.__all__)
    assert not library - set(nn.__all__) - set(nn.GAPS)
    assert not set(nn.__all__) & set(nn.GAPS)
    assert set(nn.__all__) - library == {
        "adaptive_avg_pool",
        "adaptive_max_pool",
        "avg_pool",
        "max_pool",
        "upsample_nearest",
        "upsample_linear",
        "affine",
        "bilinear",
        "cosine_similarity",
        "batch_norm",
        "conv",
        "conv_transpose",
        "dropout",
        "embedding",
        "embedding_bag",
        "flatten",
        "geglu",
        "reglu",
        "rope",
        "swiglu",
        "group_norm",
        "instance_norm",
        "layer_norm",
        "linear",
        "linear_cross_entropy",
        "linear_recurrence",
        "prelu",
        "rms_norm",
        "rnn",
        "gru",
        "lstm",
        "relu_squared",
    }


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_where(name):
    rng = np.random.default_rng(6)
    x, dy = jax.numpy.asarray(rng.normal(size=(3, 7))), jax.numpy.asarray(rng.normal(size=(3, 7)))
    where = jax.numpy.asarray(rng.uniform(size=(3, 7)) > 0.4).at[1].set(False)
    (y, grad), (want, want_grad) = (
        (y, pull(jax.numpy.where(where, dy, 0.0))[0])
        for y, pull in (jax.vjp(partial(getattr(m, name), where=where), x) for m in (nn, jax.nn))
    )
    np.testing.assert_allclose(y, want, rtol=1e-12)
    np.testing.assert_allclose(grad[where], want_grad[where], rtol=1e-12, atol=1e-15)
    assert (grad[~where] == 0).all()


def test_traced_option():
    with pytest.raises(SpecError, match=r"elu: alpha is .*, expected a Python number"):
        jax.jit(nn.elu)(jax.numpy.ones(3), 0.3)
    assert nn.elu(-jax.numpy.ones(3), jax.numpy.asarray(0.3)).shape == (3,)
