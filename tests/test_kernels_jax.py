"""layer_norm's kernels inside JAX: jit, vmap, derivatives, refusals, and the compiled binding."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx import rule
from bpx.spec import SpecError
from bpx_jax.kernels.cpu import layer_norm as cpu
from bpx_jax.kernels.pallas import layer_norm as pallas
from bpx_jax.layers.layer_norm import RULE, layer_norm
from bpx_jax.verify import RULES

DIMS = {"N": (2,), "D": 3}


@pytest.fixture(params=["cpu", "pallas"])
def kernel(request):
    with jax.enable_x64(True), rule.use(request.param, interpret=True):
        module = {"cpu": cpu, "pallas": pallas}[request.param]
        if (reason := module.refuses((jnp.ones((2, 3)), None, None), DIMS)) is not None:
            pytest.skip(reason)
        yield request.param


def draw(*shape):
    rng = np.random.default_rng(shape)
    return [jnp.asarray(rng.normal(size=s)) for s in (shape, shape[-1:], shape[-1:], shape)]


def near(got, want, factor=1.0):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        bound = factor * 64 * 2.0**-53 * np.abs(b).max(initial=1)
        assert np.abs(np.asarray(a) - np.asarray(b)).max(initial=0) <= bound


def plain(function, *args):
    with rule.use("plain"):
        return function(*args)


def test_the_kernel_is_in_the_compiled_program(kernel):
    x, w, b, dy = draw(5, 7)
    f = lambda x, w, b: jax.vjp(layer_norm, x, w, b)[1](dy)  # noqa: E731
    text = jax.jit(f).lower(x, w, b).as_text()
    if kernel == "cpu":
        assert "layer_norm_forward_f64" in text
        assert "layer_norm_backward_f64" in text
    near(jax.jit(f)(x, w, b), plain(f, x, w, b))
    near(f(x, w, b), plain(f, x, w, b))


def test_vmap_over_any_argument(kernel):
    x, w, b, dy = draw(4, 5, 7)
    ws, bs = jnp.stack([w, -w, 2 * w, w + 1]), jnp.stack([b, -b, 2 * b, b + 1])

    def f(x, w, b, dy):
        return layer_norm(x, w, b), jax.vjp(layer_norm, x, w, b)[1](dy)

    for axes, given in (
        ((0, None, None, 0), (x, w, b, dy)),
        ((1, None, None, 1), (x, w, b, dy)),
        ((None, 0, 0, None), (x[0], ws, bs, dy[0])),
        ((0, 0, None, 0), (x, ws, b, dy)),
    ):
        mapped = jax.vmap(f, axes)
        near(mapped(*given), plain(mapped, *given), 4)
    twice = jax.vmap(jax.vmap(f, (0, None, None, 0)), (None, 0, 0, None))
    near(twice(x, ws, bs, dy), plain(twice, x, ws, bs, dy), 4)
    if kernel == "pallas":
        return  # JAX cannot map its pallas_call over an empty batch
    zero = jax.vmap(f, (0, None, None, 0))(x[:0], w, b, dy[:0])
    assert [a.shape for a in zero[1]] == [(0, 5, 7), (0, 7), (0, 7)]


def test_without_parameters_under_vmap(kernel):
    x, _, _, dy = draw(4, 5, 7)
    f = lambda x, dy: jax.vjp(lambda x: layer_norm(x), x)[1](dy)  # noqa: E731
    near(jax.vmap(f)(x, dy), plain(jax.vmap(f), x, dy))


def test_second_derivatives_are_those_of_the_plain_rule(kernel):
    x, w, b, dy = draw(3, 5)

    def f(x, w, b):
        return (layer_norm(x, w, b) * dy).sum() ** 2

    first = jax.grad(f, (0, 1, 2))
    near(first(x, w, b), plain(first, x, w, b), 64)

    def product(x, w, b):
        return jax.grad(lambda *a: sum((g**2).sum() for g in first(*a)), (0, 1, 2))(x, w, b)

    near(product(x, w, b), plain(product, x, w, b), 4096)


def test_bfloat16_gradients_have_the_dtype_of_their_argument(kernel):
    x, w, b, dy = (a.astype(jnp.bfloat16) for a in draw(3, 5))
    w = w.astype(jnp.float32)
    y, pull = jax.vjp(layer_norm, x, w, b)
    assert y.dtype == jnp.bfloat16
    assert [g.dtype for g in pull(dy)] == [jnp.bfloat16, jnp.float32, jnp.bfloat16]


def test_scan_and_remat(kernel):
    x, w, b, dy = draw(5, 7)

    def f(x):
        step = jax.checkpoint(lambda x, _: (layer_norm(x, w, b), None))
        return (jax.lax.scan(step, x, None, length=3)[0] * dy).sum()

    near(jax.jit(jax.grad(f))(x), plain(jax.grad(f), x), 64)


def test_large_enough_for_every_thread():
    """Repeated, since a lost wake-up would hang or give wrong sums only now and then."""
    if (reason := cpu.refuses((jnp.ones((2, 3)), None, None), DIMS)) is not None:
        pytest.skip(reason)
    x, w, b, dy = (a.astype(jnp.float32) for a in draw(400, 257))

    @jax.jit
    def step():
        residuals = cpu.forward(x, w, b, eps=1e-5)[1]
        return cpu.backward(dy, (x, w, None), residuals, (True,) * 3, eps=1e-5)

    first = step()
    for _ in range(200):
        for a, c in zip(step(), first, strict=True):
            np.testing.assert_array_equal(a, c)


def test_what_the_kernels_refuse(monkeypatch):
    x = jnp.ones((2, 3), jnp.float32)
    half = cpu.refuses((x.astype(jnp.float16), None, None), DIMS)
    assert half == "it takes float32, float64 and bfloat16, not float16"
    empty = cpu.refuses((x[:, :0], None, None), {"N": (2,), "D": 0})
    assert empty == "an argument has no elements"
    with jax.enable_x64(True):
        double = jnp.ones(3, jnp.float64)
        assert cpu.refuses((x, double, None), DIMS) == "an argument is float64 beside float32"
    assert pallas.refuses((x, None, None), DIMS) == "the default backend is cpu"
    with rule.use("pallas", interpret=True):
        long = pallas.refuses((x, None, None), {"N": (2,), "D": 131072})
    assert long == "D is 131072, at most 8192 fit in the registers of a program"
    with pytest.raises(SpecError, match="pallas: the default backend is cpu"), rule.use("pallas"):
        layer_norm(x)
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert cpu.refuses((x, None, None), DIMS).startswith("there are 8 devices")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert cpu.refuses((x, None, None), DIMS) == "the default backend is gpu"


def test_chunks_that_take_longer_than_a_look():
    """Each row is one chunk of 0.3 ms."""
    if (reason := cpu.refuses((jnp.ones((2, 3)), None, None), DIMS)) is not None:
        pytest.skip(reason)
    rng = np.random.default_rng(3)
    x, dy = (jnp.asarray(rng.normal(size=(4, 300_001)), jnp.float32) for _ in range(2))

    def both(kernel):
        with rule.use(kernel):
            y, back = jax.vjp(RULES["softmax"], x)
            return y, back(dy)[0]

    wide, slope = (np.asarray(a, np.float64) for a in (x, dy))
    y = np.exp(wide - wide.max(1, keepdims=True))
    y /= y.sum(1, keepdims=True)
    dx = y * (slope - (y * slope).sum(1, keepdims=True))
    for got, want, size in zip(both("cpu"), (y, dx), (y, y * (1 + np.abs(slope))), strict=True):
        got = np.asarray(got, np.float64)
        assert (np.abs(got - want) <= 64 * 2.0**-24 * size).all()  # a lane adds 4,688 of 64 lanes'


def test_the_rule_chooses_the_native_kernel_by_itself():
    if (reason := cpu.refuses((jnp.ones((2, 3)), None, None), DIMS)) is not None:
        pytest.skip(reason)
    assert "layer_norm_forward_f" in jax.jit(layer_norm).lower(jnp.ones((2, 3))).as_text()
    assert [k.name for k in RULE.kernels] == ["cpu", "pallas", "plain"]
