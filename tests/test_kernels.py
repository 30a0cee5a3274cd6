"""layer_norm's kernels against the spec: C on the CPU for both frameworks, Triton, Pallas.

Tolerances. An array of scale S (the largest sum of magnitudes behind an element) computed with unit
roundoff u and stored with unit roundoff v is off by at most C u S + v |value|. C counts roundings
on the longest path: 4 after sums of at most 257 elements, whose errors grow like a root: 16.
"""

import contextlib
import importlib
import itertools

import numpy as np
import pytest

from bpx import rule
from bpx.layers.layer_norm import SPEC
from bpx.spec import SpecError

C = 16
STORE = {"float64": 0.0, "float32": 0.0, "bfloat16": 2.0**-8, "float16": 2.0**-11}
EPS = 1e-5
KERNELS = ("torch cpu", "torch triton", "jax cpu", "jax pallas")
DTYPES = ("float64", "float32", "bfloat16", "float16")
NAMES = ("dx", "dweight", "dbias")

# of NumPy, in which Triton's interpreter runs
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")


class Torch:
    def __init__(self, name):
        self.lib = pytest.importorskip("torch")
        self.rule = importlib.import_module("bpx_torch.layers.layer_norm").RULE
        self.name = name

    def array(self, a, dtype):
        return None if a is None else self.lib.tensor(a).to(getattr(self.lib, dtype))

    def numpy(self, a):
        return None if a is None else a.double().numpy()

    def dtype(self, a):
        return str(a.dtype).removeprefix("torch.")


class Jax(Torch):
    def __init__(self, name):
        self.lib = pytest.importorskip("jax")
        self.rule = importlib.import_module("bpx_jax.layers.layer_norm").RULE
        self.name = name

    def array(self, a, dtype):
        return None if a is None else self.lib.numpy.asarray(a, dtype)

    def numpy(self, a):
        return None if a is None else np.asarray(a).astype(np.float64)

    def dtype(self, a):
        return str(a.dtype)


@pytest.fixture(params=KERNELS)
def run(request):
    """A framework with the kernel to test; skipped by name where the kernel cannot run at all."""
    framework, name = request.param.split()
    with contextlib.ExitStack() as stack:
        if framework == "jax":
            jax = pytest.importorskip("jax")
            stack.enter_context(jax.enable_x64(True))
        runner = (Torch if framework == "torch" else Jax)(name)
        runner.module = pytest.importorskip(f"bpx_{framework}.kernels.{name}.layer_norm")
        stack.enter_context(rule.use(name, interpret=True))
        probe = runner.array(np.ones((2, 3)), "float32")
        if (reason := runner.module.refuses((probe, None, None), {"N": (2,), "D": 3})) is not None:
            pytest.skip(f"{request.param}: {reason}")
        yield runner


def draw(shape, weight=True, bias=True, seed=0):
    """x, weight, bias, dy in float64, each from its own stream."""
    rng = np.random.default_rng([seed, *shape])
    x, dy = rng.normal(size=shape) + 0.3, rng.normal(size=shape)
    w = rng.normal(size=shape[-1:]) if weight else None
    return x, w, (rng.normal(size=shape[-1:]) if bias else None), dy


def both(run, x, w, b, dy, needs=None):
    """The kernel's y, residuals and gradients."""
    y, residuals = run.module.forward(x, w, b, eps=EPS)
    needs = needs or (True, w is not None, b is not None)
    return y, residuals, run.module.backward(dy, (x, w, None), residuals, needs, eps=EPS)


def close(what, got, want, scale, u, store=0.0):
    assert got.shape == want.shape, what
    error, bound = np.abs(got - want), C * u * scale + store * np.abs(want)
    assert (error <= bound).all(), f"{what}: {np.max(error / bound):.3g} of the tolerance"


def size(a):
    return 1.0 if a is None else float(np.abs(a).max(initial=0))


def verify(run, arrays, dtypes):
    """Numbers, shapes and dtypes against the spec in float64 on the same rounded inputs."""
    given = [run.array(a, d) for a, d in zip(arrays, dtypes, strict=True)]
    x, w, b, dy = rounded = [run.numpy(a) for a in given]
    y, residuals, grads = both(run, *given)
    want_y, (mu, rstd) = SPEC.forward(x, w, b, eps=EPS)
    u = 2.0**-53 if dtypes[0] == "float64" else 2.0**-24
    xhat = (x - mu) * rstd
    close("y", run.numpy(y), want_y, size(xhat) * size(w) + size(b), u, STORE[dtypes[0]])
    close("mu", run.numpy(residuals[0]), mu, size(x), u)
    close("rstd", run.numpy(residuals[1]), rstd, size(rstd), u)
    assert run.dtype(y) == dtypes[0]
    assert {run.dtype(r) for r in residuals} == {"float64" if dtypes[0] == "float64" else "float32"}
    rows = tuple(range(x.ndim - 1))
    scales = (
        size(rstd) * size(dy) * size(w),
        size(np.abs(dy * xhat).sum(rows)),
        size(np.abs(dy).sum(rows)),
    )
    wanted = SPEC.backward(dy, x, w, b, eps=EPS)
    for name, got, want, s, store in zip(
        NAMES, grads, wanted, scales, (STORE[dtypes[0]], 0, 0), strict=True
    ):
        assert (got is None) == (want is None), name
        if want is not None:
            close(name, run.numpy(got), want, s, u, store)
    for before, after in zip(rounded, given, strict=True):
        np.testing.assert_array_equal(before, run.numpy(after), "an input was written to")


SHAPES = ((33,), (3, 1), (5, 7), (0, 5), (2, 0, 5), (2, 3, 33), (4, 257))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numbers(run, shape, dtype):
    if run.name == "cpu" and (dtype == "float16" or 0 in shape):
        pytest.skip("the cpu kernels refuse float16 and arrays without elements")
    verify(run, draw(shape), (dtype,) * 4)


@pytest.mark.parametrize(("weight", "bias"), [(True, False), (False, True), (False, False)])
def test_without_weight_or_bias(run, weight, bias):
    verify(run, draw((5, 7), weight, bias), ("float32",) * 4)


def test_many_chunks_of_rows(run):
    verify(run, draw((150, 257)), ("float32",) * 4)


def test_parameters_of_another_dtype(run):
    verify(run, draw((5, 33)), ("bfloat16", "float32", "float32", "bfloat16"))
    verify(run, draw((5, 33)), ("float32", "bfloat16", "bfloat16", "float32"))
    verify(run, draw((5, 33)), ("float64", "float32", "float32", "float64"))


def test_a_large_mean_costs_no_digits(run):
    """No condition factor: the kernels take off the shift that rounding mu puts on x - mu."""
    x, w, b, dy = draw((6, 257))
    verify(run, (x + 1e4, w, b, dy), ("float32",) * 4)


def test_a_constant_row_is_its_bias(run):
    """mu may be off by the 64 that float32 is spaced by here; the variance must not see it."""
    _, w, b, _ = draw((3, 257))
    given = [run.array(a, "float32") for a in (np.full((3, 257), 1e9), w, b)]
    y, (_, rstd) = run.module.forward(*given, eps=EPS)
    assert np.abs(run.numpy(rstd) * EPS**0.5 - 1).max() < C * 2.0**-24 * 64 / EPS**0.5
    error = np.abs(run.numpy(y) - run.numpy(given[2])).max()
    assert error < C * 2.0**-24 * 64 / EPS**0.5 * size(w)


def test_nan_and_infinity_stay_in_their_row(run):
    x, w, b, dy = (run.array(a, "float32") for a in draw((5, 33)))
    clean = both(run, x, w, b, dy)
    for bad in (np.nan, np.inf, -np.inf):
        values = run.numpy(x)
        values[2, 7] = bad
        y, _, grads = both(run, run.array(values, "float32"), w, b, dy)
        others = [0, 1, 3, 4]
        for got, want in ((y, clean[0]), (grads[0], clean[2][0])):
            np.testing.assert_array_equal(run.numpy(got)[others], run.numpy(want)[others])
            assert np.isnan(run.numpy(got)[2]).all()
        assert np.isnan(run.numpy(grads[1])).all()


def test_a_nan_survives_the_rounding_to_bfloat16(run):
    x, w, b, dy = (run.array(a, "bfloat16") for a in draw((3, 33)))
    dy = run.numpy(dy)
    dy[1, 4] = np.nan
    dx = run.numpy(both(run, x, w, b, run.array(dy, "bfloat16"))[2][0])
    assert np.isnan(dx[1]).all()
    assert np.isfinite(dx[[0, 2]]).all()


def test_bfloat16_is_rounded_to_nearest_ties_to_even(run):
    """y is the bias where the weight is zero; the last one is a NaN with every bit of it set."""
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0xC0400000, 0x7F7FFFFF, 0x7FFFFFFF])
    bias = bits.astype(np.uint32).view(np.float32)
    x = run.array(draw((2, 6))[0], "bfloat16")
    w, b = run.array(np.zeros(6), "float32"), run.array(bias, "float32")
    y = run.numpy(run.module.forward(x, w, b, eps=EPS)[0])
    want = [1.0, 1 + 2.0**-6, 1 + 2.0**-7, -3.0, np.inf, np.nan]
    np.testing.assert_array_equal(y, [want, want])


def test_needs(run):
    whole = both(run, *(given := [run.array(a, "float32") for a in draw((4, 33))]))[2]
    for needs in itertools.product((True, False), repeat=3):
        found = both(run, *given, needs)[2]
        for name, need, got, want in zip(NAMES, needs, found, whole, strict=True):
            assert (got is not None) == need
            if need:  # XLA compiles Pallas's interpreter anew, and may round in another place
                scale = 4 * float(np.abs(run.numpy(want)).max())
                close(name, run.numpy(got), run.numpy(want), scale, 2.0**-24)


def test_residuals_are_those_of_the_plain_rule(run):
    x, w, b, dy = given = [run.array(a, "float32") for a in draw((4, 33))]
    needs, grads = (True, True, True), both(run, *given)[2]
    own = run.module.forward(x, w, b, eps=EPS)[1]
    plain = run.rule.plain.forward(x, w, b, eps=EPS)[1]
    crossed = (
        run.rule.plain.backward(dy, (x, w, None), own, needs, eps=EPS),
        run.module.backward(dy, (x, w, None), plain, needs, eps=EPS),
    )
    for name, want, *pair in zip(NAMES, grads, *crossed, strict=True):
        scale = 4 * float(np.abs(run.numpy(want)).max())
        for got in pair:
            close(name, run.numpy(got), run.numpy(want), scale, 2.0**-24)


def test_two_runs_give_the_same_bits(run):
    given = [run.array(a, "float32") for a in draw((64, 257))]
    (y, residuals, grads), (y2, residuals2, grads2) = both(run, *given), both(run, *given)
    for a, b in zip((y, *residuals, *grads), (y2, *residuals2, *grads2), strict=True):
        np.testing.assert_array_equal(run.numpy(a), run.numpy(b))


def test_a_forced_kernel_says_why_it_cannot(run):
    x = run.array(np.ones((2, 0)), "float32")
    with pytest.raises(SpecError, match=f"{run.name}: (D is 0|.*has no elements)"):
        run.rule(x, None, None)
    double = run.array(np.ones(3), "float64")
    with pytest.raises(SpecError, match="float64 beside float32"):
        run.rule(run.array(np.ones((2, 3)), "float32"), double, None)
