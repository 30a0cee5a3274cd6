"""keras on JAX's arrays, and layers of flax and keras as plain functions of arrays.

keras reads its backend when it is imported, and writes a file where KERAS_HOME says.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("flax")
from flax import nnx


def _keras():
    given = {"KERAS_BACKEND": "jax", "KERAS_HOME": tempfile.mkdtemp()}
    before = {k: os.environ.get(k) for k in given}
    os.environ.update(given)
    try:
        import keras
    finally:
        for k, v in before.items():
            os.environ.pop(k) if v is None else os.environ.update({k: v})
    assert keras.backend.backend() == "jax", "keras was imported before, with another backend"
    return keras


if importlib.util.find_spec("keras") is None:
    pytest.skip("keras is not installed", allow_module_level=True)
keras = _keras()
keras.config.set_floatx("float64")


@contextmanager
def lenient():
    """JAX as it is without the strictness of these tests, which other libraries do not keep to."""
    with ExitStack() as stack:
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.numpy_rank_promotion("allow"))
        yield


def of_flax(make, **parameters):
    """y of a flax layer with parameters that are arrays; `make` gets rngs and dtypes."""
    wide = {"dtype": np.float64, "param_dtype": np.float64}
    module = make(**wide) if make is nnx.PReLU else make(**wide, rngs=nnx.Rngs(0))
    for name, value in parameters.items():
        getattr(module, name).set_value(jax.numpy.asarray(value))
    return module


def of_keras(layer, x, weights, state=(), **options):
    """(y, new state) of a keras layer with its trainable weights and its state in order."""
    if not layer.built:
        layer.build(x.shape)
    return layer.stateless_call([*weights], [*state], x, **options)


def value_and_grads(f, arrays, dy):
    """y and the gradient of (y dy).sum() by each array, in JAX."""
    with lenient():
        y, pull = jax.vjp(f, *map(jax.numpy.asarray, arrays))
        return [y, *pull(jax.numpy.asarray(dy, y.dtype))]


def value_and_grads_torch(f, arrays, dy):
    """The same in PyTorch."""
    import torch

    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = f(*leaves)
    y.backward(torch.tensor(dy))
    return [y.detach(), *(a.grad for a in leaves)]


def close(got, want, bound=1e-11):
    """Arrays pairwise; near 0 relative to the largest of an array."""
    for g, w in zip(got, want, strict=True):
        scale = np.abs(np.asarray(w)).max()
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=bound, atol=bound * scale)
