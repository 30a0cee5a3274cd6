"""Random bits: NumPy and torch against jax.random, which the JAX tree is."""

import importlib
import importlib.util

import numpy as np
import pytest
from scipy import stats

from bpx import random as R
from bpx.spec import SpecError


def there(framework, module):
    return importlib.import_module(module) if importlib.util.find_spec(framework) else None


jax, jnp, J = (there("jax", m) for m in ("jax", "jax.numpy", "bpx_jax.random"))
torch, T = (there("torch", m) for m in ("torch", "bpx_torch.random"))
needs_jax = pytest.mark.skipif(jax is None, reason="jax is not installed")
needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed")

SEEDS = (0, 7, 2**32 - 1, 987654321012, -5)
SHAPES = ((), (1,), (0,), (7,), (3, 0, 2), (5, 3, 1001))
DTYPES = (np.float32, np.float64)
N = 200_000


def data(keys):
    return np.asarray(jax.random.key_data(keys))


def others(in_torch, *in_jax):
    """What the installed frameworks give."""
    if torch is not None:
        yield in_torch().numpy()
    if jax is not None:
        yield from (np.asarray(f()) for f in in_jax)


def torch_dtype(dtype):
    return getattr(torch, dtype.__name__)


def optimised(f):
    """f as XLA compiles it where it is not told, as the tests tell it, to leave that to others."""
    if jax is None:
        return f
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 3})


def ulps(got, want):
    return np.abs(got.astype(float) - want) / np.spacing(np.abs(want)).astype(float)


@pytest.mark.parametrize("seed", SEEDS)
def test_keys(seed):
    want = R.key(seed)
    assert want.dtype == np.uint32
    for got in others(
        lambda: T.key(seed), lambda: data(J.key(seed)), lambda: data(jax.random.key(seed))
    ):
        assert got.dtype == np.uint32
        assert (got == want).all()
    for n in (1, 5, (2, 3)):
        want = R.split(seed, n)
        for got in others(
            lambda n=n: T.split(seed, n),
            lambda n=n: data(J.split(seed, n)),
            lambda n=n: data(jax.random.split(jax.random.key(seed), n)),
        ):
            assert got.shape == want.shape
            assert (got == want).all()
    for d in (0, 3, 2**32 - 3):
        for got in others(
            lambda d=d: T.fold_in(seed, d),
            lambda d=d: data(J.fold_in(seed, d)),
            lambda d=d: data(jax.random.fold_in(jax.random.key(seed), np.uint32(d))),
        ):
            assert (got == R.fold_in(seed, d)).all()


@pytest.mark.parametrize("width", R.WIDTHS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits(width, shape):
    want = R.bits(11, shape, width)
    assert want.shape == shape
    for got in others(
        lambda: T.bits(11, shape, width),
        lambda: J.bits(11, shape, width),
        lambda: jax.random.bits(jax.random.key(11), shape, f"uint{width}"),
    ):
        assert got.dtype == want.dtype
        assert got.shape == shape
        assert (got == want).all()


@needs_jax
@needs_torch
def test_every_form_of_a_key_is_taken():
    seed, words = 7, R.key(7)
    want = R.bits(seed, (4,))
    for key in (words, J.key(7), jnp.asarray(words)):
        assert (np.asarray(J.bits(key, (4,))) == want).all()
    for key in (words, T.key(7), data(J.key(7))):
        assert (T.bits(key, (4,)).numpy() == want).all()
    assert (R.bits(data(J.key(7)), (4,)) == want).all()


def test_long_counter():
    """Element i needs i alone; the high word is used from 2**32 on."""
    start = 2**32 - 2
    y0, y1 = R._pair(3, start, start + 4)
    high = np.uint32([0, 0, 1, 1])
    low = np.uint32([2**32 - 2, 2**32 - 1, 0, 1])
    want = R.threefry2x32(3, high, low)
    assert (y0 == want[0]).all()
    assert (y1 == want[1]).all()


def test_published_vectors():
    """The known answers of Random123 for threefry2x32, 20 rounds."""
    for key, x, y in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ):
        got = R.threefry2x32(np.uint32(key), *(np.uint32([v]) for v in x))
        assert (int(got[0][0]), int(got[1][0])) == y


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.1, 0.7), (-3.3, 5.1), (2.0, 2.3)])
def test_uniform(dtype, bounds):
    """Bit for bit, the fused multiply-add of XLA included (on a processor that has one)."""
    got = R.uniform(3, (N,), dtype, *bounds)
    assert got.dtype == dtype
    for other in others(
        lambda: T.uniform(3, (N,), torch_dtype(dtype), *bounds),
        optimised(lambda: J.uniform(3, (N,), dtype, *bounds)),
        optimised(lambda: jax.random.uniform(jax.random.key(3), (N,), dtype, *bounds)),
    ):
        assert (other == got).all()
    low, high = bounds
    assert stats.kstest(got, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_fused_rounds_once():
    """a * b + c lies 2**-70 below a tie that float64 would round it to, and the tie rounds up."""
    one = np.float32(1)
    ulp = np.float32(2.0**-23)
    a, b, c = (one + ulp) * one / 4096, (one - ulp) * one / 4096, one + ulp
    assert R._fused(np.array([a]), b, c, np.dtype(np.float32)) == c
    assert torch is None or T._fused(*(torch.tensor(v) for v in (a, b, c))) == c


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_bernoulli(dtype):
    want = R.bernoulli(5, 0.3, (N,), dtype)
    for got in others(
        lambda: T.bernoulli(5, 0.3, (N,), torch_dtype(dtype)),
        lambda: J.bernoulli(5, 0.3, (N,), dtype),
        lambda: jax.random.bernoulli(jax.random.key(5), jnp.asarray(dtype(0.3)), (N,)),
    ):
        assert (got == want).all()
    assert abs(want.mean() - 0.3) < 4 * np.sqrt(0.21 / N)


# XLA's float64 log1p is off by 128 ulp near u^2 = 0.41, which is |z| = 0.92
@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 3), (np.float64, 32)])
def test_normal(dtype, limit):
    got = R.normal(4, (N,), dtype)
    assert got.dtype == dtype
    if torch is not None:
        assert ulps(T.normal(4, (N,), torch_dtype(dtype)).numpy(), got).max() <= 4
    if jax is not None:
        want = np.asarray(jax.random.normal(jax.random.key(4), (N,), dtype))
        assert ulps(got, want).max() <= limit
        away = np.abs(np.abs(want) - 0.9) > 0.1
        assert ulps(got, want)[away].max() <= 4
        assert (np.asarray(J.normal(4, (N,), dtype)) == want).all()
    assert stats.kstest(got, "norm").pvalue > 1e-3
    assert abs(stats.kurtosis(got)) < 4 * np.sqrt(24 / N)


@needs_torch
def test_vmap_in_torch():
    keys = T.split(3, 4)
    want = torch.stack([T.normal(k, (3,)) for k in keys])
    assert (torch.vmap(lambda k: T.normal(k, (3,)))(keys) == want).all()


@needs_jax
def test_vmap_in_jax():
    got = jax.jit(jax.vmap(lambda k: J.uniform(k, (3,))))(J.split(3, 4))
    assert (np.asarray(got) == np.stack([R.uniform(k, (3,)) for k in R.split(3, 4)])).all()


@needs_jax
def test_other_layout_is_overruled():
    with jax.threefry_partitionable(False):
        assert (np.asarray(J.bits(3, (9,))) == R.bits(3, (9,))).all()
        assert (data(J.split(3, 2)) == R.split(3, 2)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.key(2**64), "random: seed is 18446744073709551616, expected an int in"),
        (lambda m: m.key(0.5), "random: seed is 0.5, expected an int in"),
        (lambda m: m.bits(0, (2,), 12), "random: width is 12, expected one of [8, 16, 32, 64]"),
        (lambda m: m.bits(0, (-2,)), "random: shape is (-2,), expected a tuple of sizes"),
        (lambda m: m.bits(np.zeros(3, np.uint32), (2,)), "random: key is uint32 of shape (3,)"),
        (lambda m: m.bits(np.zeros(2), (2,)), "random: key is float64 of shape (2,)"),
    ],
)
@pytest.mark.parametrize("module", [m for m in (R, T, J) if m], ids=lambda m: m.__name__)
def test_rejects(module, call, message):
    with pytest.raises(SpecError) as caught:
        call(module)
    assert message in str(caught.value)


ONE_TREE = {
    "numpy": (
        (lambda: R.fold_in(0, -1), "data is -1, expected an int in 0 <= data < 2**32"),
        (lambda: R.uniform(0, (2,), np.float16), "dtype is float16, expected float32 or float64"),
    ),
    "torch": (
        (lambda: T.fold_in(0, 2**32), "data is 4294967296, expected an int in"),
        (lambda: T.normal(0, (2,), torch.bfloat16), "dtype is torch.bfloat16, expected float32"),
        (
            lambda: T.bits(torch.zeros(2), (2,)),
            "key is torch.float32 of shape (2,), expected uint32",
        ),
    ),
    "jax": (
        (lambda: J.bits(jax.random.key(0, impl="rbg"), (2,)), "key is of rbg, expected a key of"),
        (lambda: J.bits(jnp.zeros(2), (2,)), "key is float64 of shape (2,), expected uint32"),
    ),
}


@pytest.mark.parametrize("tree", [t for t in ONE_TREE if importlib.util.find_spec(t)])
def test_rejects_of_one_tree(tree):
    for call, message in ONE_TREE[tree]:
        with pytest.raises(SpecError) as caught:
            call()
        assert message in str(caught.value)
