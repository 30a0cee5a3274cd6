"""Profiles of losses against the library each is named after: value and gradient in float64."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from bpx.spec import SpecError
from bpx_jax import losses as J
from bpx_torch import functional as F
from bpx_torch import nn as N
from tests.libraries import close, keras, lenient, value_and_grads, value_and_grads_torch

pytestmark = pytest.mark.slow

rng = np.random.default_rng(5)
K, of_optax, of_torch = keras.losses, optax.losses, torch.nn.functional
X, T = 2 * rng.standard_normal((4, 6)), rng.standard_normal((4, 6))
P = rng.uniform(0.05, 0.95, (4, 6))
P[0, :4] = (0.0, 1.0, 1e-9, 1 - 1e-12)  # beyond every clip
R = np.where(P == 1, 0.5, P)  # at a bound of a clip torch has the slope 1, jax 0.5
Q = rng.dirichlet(np.ones(6), 4)
B = (rng.uniform(size=(4, 6)) > 0.5).astype(np.float64)
LABELS = np.array([3, 0, 5, 3])


def reversed_of(loss):
    """keras takes the target first."""
    return lambda x, target: loss(target, x)


# (entry, profile): (the library's, bpx_torch's, bpx_jax's or None, x, target)
CASES = {
    ("mse", "optax"): (of_optax.squared_error, F.mse_loss, J.squared_error, X, T),
    ("mse", "keras"): (
        reversed_of(K.MeanSquaredError(dtype="float64")),
        F.mse_loss,
        J.squared_error,
        X,
        T,
    ),
    ("mse", "torch"): (of_torch.mse_loss, F.mse_loss, J.squared_error, X, T),
    ("l1", "keras"): (reversed_of(K.MeanAbsoluteError(dtype="float64")), F.l1_loss, None, X, T),
    ("huber", "optax"): (of_optax.huber_loss, F.huber_loss, J.huber_loss, X, T),
    ("huber", "keras"): (reversed_of(K.Huber(dtype="float64")), F.huber_loss, J.huber_loss, X, T),
    ("huber", "torch"): (of_torch.huber_loss, F.huber_loss, J.huber_loss, X, T),
    ("binary_cross_entropy", "keras"): (
        reversed_of(K.BinaryCrossentropy(dtype="float64")),
        F.binary_cross_entropy,
        None,
        P,
        B,
    ),
    ("binary_cross_entropy_with_logits", "optax"): (
        of_optax.sigmoid_binary_cross_entropy,
        F.binary_cross_entropy_with_logits,
        J.sigmoid_binary_cross_entropy,
        X,
        B,
    ),
    ("binary_cross_entropy_with_logits", "keras"): (
        reversed_of(K.BinaryCrossentropy(from_logits=True, dtype="float64")),
        F.binary_cross_entropy_with_logits,
        J.sigmoid_binary_cross_entropy,
        X,
        B,
    ),
    ("cross_entropy", "torch"): (
        of_torch.cross_entropy,
        F.cross_entropy,
        J.softmax_cross_entropy_with_integer_labels,
        X,
        LABELS,
    ),
    ("cross_entropy", "optax"): (
        of_optax.softmax_cross_entropy_with_integer_labels,
        F.cross_entropy,
        J.softmax_cross_entropy_with_integer_labels,
        X,
        LABELS,
    ),
    ("cross_entropy", "keras"): (
        reversed_of(K.SparseCategoricalCrossentropy(dtype="float64")),
        F.cross_entropy,
        J.softmax_cross_entropy_with_integer_labels,
        P,
        LABELS,
    ),
    ("kl_div", "optax"): (of_optax.kl_divergence, F.kl_div, J.kl_divergence, X, Q),
    ("kl_div", "torch"): (of_torch.kl_div, F.kl_div, J.kl_divergence, X, Q),
    ("kl_div", "keras"): (
        reversed_of(K.KLDivergence(dtype="float64")),
        F.kl_div,
        J.kl_divergence,
        R,
        Q,
    ),
    ("poisson_nll", "keras"): (
        reversed_of(K.Poisson(dtype="float64")),
        F.poisson_nll_loss,
        None,
        P,
        T**2,
    ),
}


def run(loss, x, target, dy, library):
    if library == "torch":
        return value_and_grads_torch(lambda x: loss(x, torch.tensor(target)), (x,), dy)
    return value_and_grads(lambda x: loss(x, jax.numpy.asarray(target)), (x,), dy)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # of torch's own kl_div
@pytest.mark.parametrize(("entry", "profile"), CASES, ids=str)
def test_losses(entry, profile):
    theirs, in_torch, in_jax, x, target = CASES[entry, profile]
    rows = {"cross_entropy": (4,), "kl_div": (4,)}.get(entry, (4, 6))
    dy = rng.standard_normal(rows) if profile == "optax" else np.float64(1.7)
    want = run(theirs, x, target, dy, "torch" if profile == "torch" else "jax")
    assert np.isfinite(np.asarray(want[1])).all()
    # keras rounds a loss to float32 at its end, whatever dtype it is asked for
    bound = 2e-7 if profile == "keras" else 1e-11
    close(run(partial(in_torch, profile=profile), x, target, dy, "torch"), want, bound)
    if in_jax is not None:
        close(run(partial(in_jax, profile=profile), x, target, dy, "jax"), want, bound)


def test_probabilities_as_targets():
    """keras.losses.CategoricalCrossentropy, with smoothed labels."""
    theirs = reversed_of(K.CategoricalCrossentropy(label_smoothing=0.2, dtype="float64"))
    bound = 2e-7
    want = run(theirs, P, Q, np.float64(1.7), "jax")
    ours = partial(F.cross_entropy, label_smoothing=0.2, profile="keras")
    close(run(ours, P, Q, np.float64(1.7), "torch"), want, bound)


@pytest.mark.parametrize("labels", [[3, -1, 5, -1], [-1] * 4], ids=["some", "all"])
def test_ignored_labels_of_keras(labels):
    """They leave the mean; without any label that counts it is 0, as is the gradient."""
    labels, one, bound = np.array(labels), np.float64(1.0), 2e-7
    loss = K.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1, dtype="float64")
    want = run(reversed_of(loss), X, labels, one, "jax")
    ours = partial(F.cross_entropy, ignore_index=-1, from_logits=True, profile="keras")
    close(run(ours, X, labels, one, "torch"), want, bound)
    of_jax = partial(
        J.softmax_cross_entropy_with_integer_labels,
        ignore_index=-1,
        from_logits=True,
        profile="keras",
    )
    close(run(of_jax, X, labels, one, "jax"), want, bound)


MODULES = {
    "MSELoss": ("mse", X, T),
    "L1Loss": ("l1", X, T),
    "HuberLoss": ("huber", X, T),
    "BCELoss": ("binary_cross_entropy", P, B),
    "BCEWithLogitsLoss": ("binary_cross_entropy_with_logits", X, B),
    "CrossEntropyLoss": ("cross_entropy", P, LABELS),
    "KLDivLoss": ("kl_div", R, Q),
    "PoissonNLLLoss": ("poisson_nll", P, T**2),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    entry, x, target = MODULES[name]
    module = getattr(N, name)(profile="keras")
    with lenient():
        want = CASES[entry, "keras"][0](jax.numpy.asarray(x), jax.numpy.asarray(target))
    got = module(torch.tensor(x), torch.tensor(target))
    np.testing.assert_allclose(got, want, rtol=2e-7)
    assert getattr(N, name)(reduction="sum", profile="keras").reduction == "sum"


def test_what_profiles_refuse():
    p, labels = torch.tensor(P), torch.tensor(LABELS)
    with pytest.raises(SpecError, match=r"label_smoothing is 0.1 where from_logits is False"):
        F.cross_entropy(p, labels, label_smoothing=0.1, profile="keras")
    with pytest.raises(SpecError, match="weight is given where from_logits is False"):
        F.cross_entropy(p, torch.tensor(Q), weight=torch.ones(6), profile="keras")
    with pytest.raises(SpecError, match=r"kl_div: clip is 1e-07 with log_target True"):
        F.kl_div(p, torch.tensor(Q), log_target=True, profile="keras")
    with pytest.raises(SpecError, match=r"kl_div: where is given with reduction 'mean', expected"):
        J.kl_divergence(X, Q, where=X > 0, profile="torch")
    with pytest.raises(SpecError, match=r"where is given with reduction 'mean' and from_logits"):
        J.softmax_cross_entropy_with_integer_labels(X, LABELS, where=X > 0, profile="torch")
    with pytest.raises(SpecError, match=r"l1: profile is 'optax', expected one of .*nothing of"):
        F.l1_loss(p, p, profile="optax")
