"""glu under torch's and JAX's names: one array, whose second half is the gate."""

import importlib
import inspect

import numpy as np
import pytest

from bpx.spec import SpecError

SHAPES = (((4, 6), -1), ((4, 6), 0), ((2, 4, 3), 1), ((0, 6), -1), ((2, 0), 1))


def parameters(f):
    return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]


def test_torch():
    torch = pytest.importorskip("torch")
    functional = importlib.import_module("bpx_torch.functional")
    nn = importlib.import_module("bpx_torch.nn")
    assert parameters(functional.glu) == parameters(torch.nn.functional.glu)
    assert parameters(nn.GLU) == parameters(torch.nn.GLU)
    assert repr(nn.GLU(1)) == repr(torch.nn.GLU(1))
    for shape, dim in SHAPES:
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        results = []
        for module in (nn.GLU(dim), torch.nn.GLU(dim)):
            y = module(x)
            dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
            results.append((y, *torch.autograd.grad(y, x, dy)))
        torch.testing.assert_close(*results, rtol=1e-13, atol=1e-13)
    for shape, dim in (((4, 5), -1), ((4, 6), 2), ((), -1)):
        with pytest.raises(SpecError, match=rf"glu: dim is {dim} of .* expected one of even size"):
            functional.glu(torch.ones(shape), dim)


def test_jax():
    jax = pytest.importorskip("jax")
    nn = importlib.import_module("bpx_jax.nn")
    assert parameters(nn.glu) == parameters(jax.nn.glu)
    rng = np.random.default_rng(3)
    for shape, axis in SHAPES:
        x = jax.numpy.asarray(rng.standard_normal(shape))
        results = []
        for f in (nn.glu, jax.nn.glu):
            y, pull = jax.vjp(lambda x, f=f, axis=axis: f(x, axis), x)
            results.append((y, pull(jax.numpy.cos(1 + 3 * y))[0]))
        for got, want in zip(*results, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)
    for shape, axis in (((4, 5), -1), ((4, 6), 2), ((), -1)):
        with pytest.raises(SpecError, match=rf"glu: axis is {axis} of .* expected one of even"):
            nn.glu(jax.numpy.ones(shape), axis)
