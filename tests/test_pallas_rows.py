"""Rows through Pallas: shares of rows, blocks of long rows, and what is refused."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx import rule
from bpx_jax import RULES
from bpx_jax.kernels.cpu import softmax as _cpu
from bpx_jax.kernels.pallas import _rows, cross_entropy, layer_norm, rms_norm, softmax


def near(got, want, scale=64):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape
        a, b = np.asarray(a), np.asarray(b)
        other = ~((a == b) | (np.isnan(a) & np.isnan(b)))  # infinities are equal or wrong
        size = np.abs(b[np.isfinite(b)]).max(initial=0)
        assert (np.abs(a[other] - b[other]) <= scale * 2.0**-24 * size).all()


def draw(*shape):
    rng = np.random.default_rng(shape)
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def both(name, arrays, dy, kernel, **options):
    """The rule's value and gradients, by one of its kernels."""
    fs = [i for i, a in enumerate(arrays) if a is not None and a.dtype == jnp.float32]

    def of_floats(*floats):
        full = list(arrays)
        for i, a in zip(fs, floats, strict=True):
            full[i] = a
        return RULES[name](*full, **options)

    with rule.use(kernel, interpret=True):
        y, back = jax.vjp(of_floats, *(arrays[i] for i in fs))
        return y, back(dy)


@pytest.mark.parametrize(("rows", "programs"), [(8, 3), (7, 7), (9, 5)])
def test_every_row_is_met_once_by_its_program(rows, programs, monkeypatch):
    monkeypatch.setattr(_rows, "PROGRAMS", programs)
    found = []
    for program in range(_rows.few(rows)):
        step = lambda row, loaded, met: met.at[row].add(loaded)  # noqa: E731
        met = jnp.zeros(rows)
        found.append(_rows.each_row(program, rows, lambda row: row + 1.0, step, met))
    assert len(found) <= programs
    assert all(met.sum() > 0 for met in found)
    np.testing.assert_array_equal(sum(found), np.arange(rows) + 1)


@pytest.mark.parametrize("width", [256, 300, 384, 100])
def test_every_column_is_met_once(width, monkeypatch):
    monkeypatch.setattr(_rows, "BLOCK", 128)
    x = jnp.arange(1.0, width + 1)
    size = _rows.block(width)

    def step(start, first, loaded, met):
        new = _rows.unmet(loaded, first, 0.0)
        held = jax.lax.dynamic_slice(met, (start,), (size,))
        return jax.lax.dynamic_update_slice(met, held + new, (start,))

    load = lambda start: jax.lax.dynamic_slice(x, (start,), (size,))  # noqa: E731
    met = _rows.walk(width, load, step, jnp.zeros(width))
    np.testing.assert_array_equal(met, x)


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_gradients_of_parameters_add_up_over_programs(name, monkeypatch):
    monkeypatch.setattr(_rows, "PROGRAMS", 3)
    x, dy = draw(8, 130), draw(8, 130) + 0.5
    arrays = (x, draw(130), draw(130) + 1)[: 3 if name == "layer_norm" else 2]
    near(both(name, arrays, dy, "pallas"), both(name, arrays, dy, "plain"))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_long_row_is_walked_over(name, monkeypatch):
    monkeypatch.setattr(_rows, "LARGEST", 128)
    monkeypatch.setattr(_rows, "BLOCK", 128)
    x, dy = 3 * draw(4, 331), draw(4, 331) + 0.5  # two blocks and an overlapping one, padded
    x = x.at[1, 100:250].set(-jnp.inf).at[2].set(-jnp.inf).at[3, 330].set(jnp.nan)
    dy = jnp.where(jnp.isneginf(x), 0, dy)  # -inf of a logarithm has no gradient of 0
    near(both(name, (x,), dy, "pallas"), both(name, (x,), dy, "plain"))


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "reduction": "none"}])
def test_long_logits_are_walked_over(options, monkeypatch):
    monkeypatch.setattr(_rows, "BLOCK", 128)
    x, weight = 3 * draw(5, 333), jnp.abs(draw(333))
    x = x.at[1].set(jnp.nan)  # an ignored row
    target = jnp.asarray([330, -100, 2, 200, 400])  # in the overlap, ignored, out of range
    dy = draw(5) + 1 if options else jnp.float32(0.7)

    def by(kernel):
        run = lambda x, target: both("cross_entropy", (x, target, weight), dy, kernel, **options)  # noqa: E731
        return jax.jit(run)(x, target if options else target.at[4].set(7))

    near(by("pallas"), by("plain"), 256)


def test_the_rounding_of_lse_is_taken_out():
    """lse is about 4096, which float32 spaces by 2^-11: exp(logits - lse) is off by as much."""
    x, target = 3 * draw(6, 130) + 4096, jnp.arange(6, dtype=jnp.int32)
    arrays, dy = (x, target, None), draw(6) + 1
    grads = [both("cross_entropy", arrays, dy, k, reduction="none")[1] for k in ("pallas", "plain")]
    near(*grads)


def test_an_axis_that_is_not_the_last():
    x, dy = draw(6, 130), draw(6, 130)
    near(both("softmax", (x,), dy, "pallas", dim=0), both("softmax", (x,), dy, "plain", dim=0))


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a Hopper GPU."""
    device = SimpleNamespace(compute_capability="9.0")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [device])
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    return device


def of(*shape, dtype=jnp.bfloat16):
    """What a kernel is told of an array, without its numbers."""
    return jax.ShapeDtypeStruct(shape, dtype)


def test_what_a_gpu_runs_by_itself_and_when_asked(gpu, monkeypatch):
    reasons = {
        (16384, 512): None,
        (65536, 384): "D is 384, by itself it takes multiples of 128 from 512 on",
        (65536, 1100): "D is 1100, by itself it takes multiples of 128 from 512 on",
        (16383, 512): "there are 8388096 elements, by itself it takes 8388608 and more",
    }
    for shape, reason in reasons.items():
        for module, more in ((layer_norm, (None, None)), (rms_norm, (None,))):
            assert module.refuses((of(*shape), *more), {"D": shape[1]}) == reason
            with rule.use("pallas"):
                assert module.refuses((of(*shape), *more), {"D": shape[1]}) is None
    assert softmax.refuses((of(512, 16384, dtype=jnp.float32),), {}) is None
    assert softmax.refuses((of(65536, 384),), {}).startswith("the last axis is 384, by itself")
    square = of(4096, 4096)
    assert softmax.refuses((square,), {"dim": 1}) is None
    another = softmax.refuses((square,), {"dim": 0})
    assert another == "it is over another axis than the last"
    logits, wide = of(512, 16384), of(512, 16384, dtype=jnp.float32)
    assert cross_entropy.refuses((logits, None, None), {"V": 16384}) is None
    twice = cross_entropy.refuses((wide, None, None), {"V": 16384})
    assert twice == "XLA is as fast for float32 logits, which backward reads twice here"
    with rule.use("pallas"):
        assert cross_entropy.refuses((wide, None, None), {"V": 16384}) is None
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    several = layer_norm.refuses((of(16384, 512), None, None), {"D": 512})
    assert several == "there are 8 devices, of which a kernel knows one"


def test_what_no_gpu_runs(gpu, monkeypatch):
    refuses = functools.partial(_rows.refuses, of(2, 1024))
    with rule.use("pallas"):
        assert refuses(9000) == "D is 9000, at most 8192 fit in the registers of a program"
        assert refuses(0, "V") == "V is 0"
        double = _rows.refuses(of(2, 1024, dtype=jnp.float64), 1024)
        assert double == "Mosaic GPU has no sums of float64"
        gpu.compute_capability = "8.6"
        assert refuses(1024) == "the GPU has compute capability 8.6, Mosaic GPU takes 9.0 and above"
        monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
        assert refuses(1024) == "the default backend is tpu, for which the kernel was not written"


def test_a_call_tells_the_kernel_its_options(monkeypatch):
    told = []
    monkeypatch.setattr(softmax, "refuses", lambda arrays, dims: told.append(dims) or "no")
    with rule.use("plain"):
        RULES["softmax"](draw(3, 2), dim=0)
    assert told == []
    monkeypatch.setattr(_cpu, "refuses", lambda arrays, dims: "no")
    RULES["softmax"](draw(3, 2), dim=0)
    assert told == [{"N": (3, 2), "dim": 0}]


def test_what_the_modules_refuse():
    x = jnp.ones((2, 3), jnp.float32)
    with jax.enable_x64(True), rule.use("pallas", interpret=True):
        double = jnp.ones(3, jnp.float64)
        parameters = layer_norm.refuses((x, None, double), {"D": 3})
        assert parameters == "weight or bias is float64 beside float32 x"
        assert rms_norm.refuses((x, double), {"D": 3}) == "weight is float64 beside float32 x"
        of_classes = cross_entropy.refuses((x, None, double), {"V": 3})
        assert of_classes == "weight is float64 beside float32 logits"
        empty = cross_entropy.refuses((x[:0], None, None), {"V": 3})
        assert empty == "logits has no elements"
        assert softmax.refuses((x[:0],), {}) == "x has no elements"
