"""Dropout: one key gives one mask in the three trees; torch's names; what is kept for backward."""

import importlib
import inspect
from math import ceil, sqrt

import numpy as np
import pytest

from bpx.layers.dropout import keep_bits, unpack
from bpx.spec import SpecError

RATES = (0.0, 0.1, 0.5, 0.999, 1.0)
SHAPES = {"Dropout": (3, 5), "Dropout1d": (4, 3, 5), "Dropout2d": (4, 3, 2, 5)}
SHAPES["Dropout3d"] = (4, 3, 2, 2, 5)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def module(name):
    return importlib.import_module(name)


@pytest.mark.parametrize("p", RATES)
def test_one_key_gives_one_mask(p, torch, jax):
    for seed, shape in ((0, (7,)), (11, (3, 5, 17)), (5, ()), (1, (0, 3))):
        want = keep_bits(seed, shape, p=p)
        ours = module("bpx_torch.layers.dropout").keep_bits(seed, shape, p=p)
        theirs = jax.jit(lambda k, s=shape: module("bpx_jax.layers.dropout").keep_bits(k, s, p=p))(
            module("bpx_jax.random").key(seed)
        )
        assert want.dtype == np.uint8
        for got in (ours.numpy(), np.asarray(theirs)):
            assert got.dtype == np.uint8
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("p", RATES)
def test_the_rate_is_p(p):
    n = 200_000
    kept = unpack(keep_bits(3, (n,), p=p), (n,)).mean()
    assert abs(kept - (1 - p)) <= 5 * sqrt(p * (1 - p) / n)  # five standard deviations


def test_masks_of_two_keys_differ():
    assert not np.array_equal(keep_bits(1, (99,), p=0.5), keep_bits(2, (99,), p=0.5))


def test_words_beside_the_threshold():
    """Dropped below p 2^32, kept at it: the one place where a comparison can be off by one."""
    from bpx import random

    word = int(random.bits(4, (1,))[0])
    for p, kept in ((word / 2**32, 1), ((word + 1) / 2**32, 0)):
        assert keep_bits(4, (1,), p=p)[0] == kept
        for package in ("bpx_torch", "bpx_jax"):
            framework = pytest.importorskip(package.removeprefix("bpx_"))
            assert framework is not None
            assert int(module(f"{package}.layers.dropout").keep_bits(4, (1,), p=p)[0]) == kept


@pytest.mark.parametrize("name", SHAPES)
def test_module(name, torch):
    nn, own = module("bpx_torch.nn"), getattr(torch.nn, name)
    layer = getattr(nn, name)(0.4)
    functional = getattr(module("bpx_torch.functional"), name.lower())
    for ours, theirs in (
        (type(layer), own),
        (functional, getattr(torch.nn.functional, name.lower())),
    ):
        found = [
            [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
            for f in (ours, theirs)
        ]
        assert found[0] == found[1]
    assert repr(layer) == repr(own(0.4))
    x = torch.randn(SHAPES[name], dtype=torch.float64, requires_grad=True)
    torch.manual_seed(7)
    y = layer(x)
    kept = y != 0
    torch.testing.assert_close(y, torch.where(kept, x / 0.6, 0.0), rtol=1e-15, atol=0)
    assert 0 < kept.double().mean() < 1
    if name != "Dropout":  # whole channels
        flat = kept.flatten(2)
        assert (flat == flat[..., :1]).all()
        assert not (flat[0] == flat[1:]).all()
    dy = torch.randn_like(y)
    dx = torch.autograd.grad(y, x, dy)[0]
    torch.testing.assert_close(dx, torch.where(kept, dy / 0.6, 0.0), rtol=1e-15, atol=0)
    assert not torch.equal(y, layer(x))
    torch.manual_seed(7)
    assert torch.equal(y, layer(x))
    assert layer.eval()(x) is x


@pytest.mark.parametrize("p", [0, 1])
def test_ends(p, torch):
    x = torch.tensor([1.5, float("inf"), float("nan")], requires_grad=True)
    y = module("bpx_torch.functional").dropout(x, p, inplace=True)
    torch.testing.assert_close(y, x if p == 0 else torch.zeros(3), equal_nan=True)
    if p:
        assert not torch.autograd.grad(y.sum(), x)[0].any()


def test_unbatched(torch):
    functional = module("bpx_torch.functional")
    for f, x in (
        (functional.dropout1d, torch.ones(40, 3)),
        (functional.dropout3d, torch.ones(40, 2, 3, 2)),
    ):
        rows = f(x, 0.5).flatten(1)
        assert (rows == rows[:, :1]).all()
        assert 0 < (rows != 0).float().mean() < 1
    with pytest.warns(UserWarning, match=r"takes for \(N, C, L\)"):
        y = functional.dropout2d(torch.ones(30, 3, 4))
    assert (y == y[..., :1]).all()
    assert not (y[:, :1] == y).all()


def test_refused(torch):
    functional = module("bpx_torch.functional")
    for f, x, p, message in (
        (functional.dropout, torch.ones(3), 1.5, "dropout: p is 1.5, expected 0 <= p <= 1"),
        (functional.dropout, torch.ones(3), None, "dropout: p is None, expected a number"),
        (functional.dropout1d, torch.ones(3), 0.5, "input has 1 dims, expected 2 or 3"),
        (functional.dropout2d, torch.ones(3, 2), 0.5, "input has 2 dims, expected 4"),
        (functional.dropout3d, torch.ones(3, 2, 2), 0.5, "input has 3 dims, expected 4 or 5"),
    ):
        with pytest.raises(SpecError) as caught:
            f(x, p)
        assert message in str(caught.value)


def test_one_bit_an_element_is_kept(torch):
    x, kept = torch.randn(1003, requires_grad=True), {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        module("bpx_torch.functional").dropout(x, 0.3)
    assert sum(kept.values()) == ceil(1003 / 8)


def test_checkpoint_and_compile_see_the_same_mask(torch):
    dropout = module("bpx_torch.functional").dropout
    x = torch.randn(64, dtype=torch.float64, requires_grad=True)
    y = torch.utils.checkpoint.checkpoint(lambda x: dropout(x).sin(), x, use_reentrant=False)
    dx = torch.autograd.grad(y.sum(), x)[0]
    torch.testing.assert_close(dx, torch.where(y != 0, 2 * (2 * x).cos(), 0.0))
    torch._dynamo.reset()
    compiled = torch.compile(dropout, fullgraph=True, backend="aot_eager")
    y = compiled(x, 0.25)
    dx = torch.autograd.grad(y.sum(), x)[0]
    torch.testing.assert_close(dx, torch.where(y != 0, 4 / 3, 0.0).double())
    assert 0 < (y != 0).double().mean() < 1


def test_vmap_asks_for_randomness(torch):
    dropout, x = module("bpx_torch.functional").dropout, torch.ones(6, 40)
    assert torch.func.vmap(dropout, randomness="same")(x).unique(dim=0).shape[0] == 1
    assert torch.func.vmap(dropout, randomness="different")(x).unique(dim=0).shape[0] == 6


def test_jax(jax):
    nn, random = module("bpx_jax.nn"), module("bpx_jax.random")
    x = jax.numpy.asarray(np.random.default_rng(3).standard_normal((4, 3, 6)))
    key = random.key(3)
    y, pull = jax.vjp(lambda x: nn.dropout(x, key, 0.4), x)
    kept = unpack(keep_bits(3, x.shape, p=0.4), x.shape)
    np.testing.assert_allclose(y, np.where(kept, x / 0.6, 0.0), rtol=1e-15)
    np.testing.assert_allclose(pull(x)[0], np.where(kept, x / 0.6, 0.0), rtol=1e-15)
    rows = jax.jit(lambda x, key: nn.dropout(x, key, 0.4, broadcast_dims=(-1,)))(x, key)
    assert ((rows != 0) == (rows[..., :1] != 0)).all()
    each = jax.vmap(lambda x, k: nn.dropout(x, k, 0.5))(x, random.split(key, 4))
    assert len({(np.asarray(e) != 0).tobytes() for e in each}) == 4
    assert nn.dropout(x, key, 0.4, deterministic=True) is x
    assert not nn.dropout(x, key, 1.0).any()
    with pytest.raises(SpecError, match=r"dropout: p is 2, expected 0 <= p <= 1"):
        nn.dropout(x, key, 2)
