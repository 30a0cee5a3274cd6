"""Every elementwise entry and its gradient at all 65,536 values of bfloat16 and of float16, NaN and
infinities included, against the float64 specification rounded to the dtype; in float32 and float64
at values of every exponent."""

import importlib
import importlib.util
from functools import cache

import numpy as np
import pytest

import bpx
from bpx import native
from bpx.spec import Case
from bpx.verify.bound import PATH, UNIT, movement
from bpx.verify.reference import cases
from tests import gpu_instructions

pytestmark = pytest.mark.slow

DTYPES = ("bfloat16", "float16")
WIDE = ("float32", "float64")
BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
LARGEST = {"float16": 65504.0, "float64": np.finfo(np.float64).max} | {
    d: (2 - 2.0 ** (1 - BITS[d])) * 2.0**127 for d in ("bfloat16", "float32")
}
SMALLEST = {"bfloat16": 2.0**-133, "float16": 2.0**-24, "float32": 2.0**-149, "float64": 5e-324}
# Rules compute in float32 at least, whose values below 2^-126 may be flushed to zero: a factor of a
# product whose other factors, x where an exponential has a tail and dy, are below 2^10 together.
FLUSHED = dict.fromkeys(BITS, 2.0**-126) | {"float64": 2.0**-1022}
FACTORS = 2.0**10
# Functions of x itself, not of a rounded product: no allowance for the conditioning of that.
DIRECT = ("sin", "cos")
FRAMEWORKS = [f for f in ("torch", "jax") if importlib.util.find_spec(f)]
ENTRIES = {spec.name: spec for spec in bpx.ALL if spec.elementwise}


@cache
def every(dtype):
    """All values of a half-precision dtype, as float64, and a sample of a wide one."""
    patterns = np.arange(65536, dtype=np.uint32)
    if dtype in WIDE:
        low, high = np.log2(FLUSHED[dtype]), np.log2(LARGEST[dtype]) - 2
        powers = np.random.default_rng(3).uniform(low, high, 2000)
        values = [0.0, np.inf, np.nan, LARGEST[dtype] / 4, *np.exp2(powers)]
        return rounded(np.concatenate([values, np.negative(values)]), dtype)
    if dtype == "float16":
        return patterns.astype(np.uint16).view(np.float16).astype(np.float64)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return (patterns << 16).view(np.float32).astype(np.float64)


def rounded(a, dtype):
    """float64 values rounded once to the dtype, ties to even, overflow to infinity."""
    if dtype == "float64":
        return a
    _, exponent = np.frexp(a)
    ulp = np.maximum(np.ldexp(1.0, exponent - BITS[dtype]), SMALLEST[dtype])
    with np.errstate(invalid="ignore"):
        near = np.where(np.isfinite(a), np.rint(a / ulp) * ulp, a)
    return np.where(np.abs(near) > LARGEST[dtype], np.copysign(np.inf, near), near)


def options_of(spec):
    """Each set of options that a case of the entry has."""
    return list({str(c.options): c.options for c in cases(spec)}.values())


def inputs(spec, dtype):
    """Each argument in turn takes every value, the others normal ones; and a normal dy."""
    rng, n, count = np.random.default_rng(4), len(spec.args), len(every(dtype))
    arrays = {}
    for i, arg in enumerate(spec.args):
        parts = [every(dtype) if j == i else rng.standard_normal(count) for j in range(n)]
        arrays[arg.name] = rounded(np.concatenate(parts), dtype)
    return arrays, rounded(rng.standard_normal(n * count), dtype)


def ends(spec, options, dtype, arrays, dy):
    """The lowest and the highest right value of y and of each gradient; NaN where they are NaN.

    A rule computes in float32 at least and rounds once to the dtype: right is what lies between the
    two ends of the float32 bound, each rounded to the dtype.
    """

    def f(given):
        dy, *values = given
        return [spec.forward(*values, **options)[0], *spec.backward(dy, *values, **options)]

    given, inner = [dy, *arrays], "float64" if dtype == "float64" else "float32"
    with np.errstate(all="ignore"):
        refs = f(given)
        moved = movement(f, given, refs)
        found = []
        for i, (ref, move) in enumerate(zip(refs, moved, strict=True)):
            move = 0.0 if spec.name in DIRECT else move
            finite = np.where(np.isfinite(ref), np.abs(ref), 0.0)
            limit = PATH[inner] * UNIT[inner] * (move + finite) + FLUSHED[dtype] * FACTORS
            if i and "y" in spec.residuals:
                # backward has the kept y, rounded: |d dx / d y| is at most |dy| in such entries
                off = np.abs(rounded(refs[0], dtype) - refs[0])
                limit = limit + np.abs(dy) * np.nan_to_num(off, posinf=np.inf)
            found.append((rounded(ref - limit, dtype), rounded(ref + limit, dtype)))
    return found


@cache
def wanted(name, index, dtype, flushes):
    """(inputs, dy, options, ends) for one set of options. Where `flushes`, inputs that are
    subnormal in float32 may be taken for zeros, as XLA takes them on a CPU."""
    spec = ENTRIES[name]
    options = options_of(spec)[index]
    arrays, dy = inputs(spec, dtype)
    found = ends(spec, options, dtype, arrays.values(), dy)
    small = np.any([(np.abs(a) < FLUSHED[dtype]) & (a != 0) for a in arrays.values()], axis=0)
    if flushes and small.any():
        zeros = [
            np.where(np.abs(a) < FLUSHED[dtype], np.copysign(0.0, a), a)[small]
            for a in arrays.values()
        ]
        for (low, high), (low0, high0) in zip(
            found, ends(spec, options, dtype, zeros, dy[small]), strict=True
        ):
            low[small], high[small] = np.minimum(low[small], low0), np.maximum(high[small], high0)
    return arrays, dy, options, found


def core(framework):
    """What knows whether the native kernels can run; asking registers them with XLA."""
    return importlib.import_module("bpx_jax.kernels.cpu._ffi") if framework == "jax" else native


@pytest.mark.parametrize("dtype", [*DTYPES, *WIDE])
@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("kernel", ["plain", "cpu", "triton"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_value(framework, kernel, name, dtype, device, monkeypatch):
    package = importlib.import_module(f"bpx_{framework}.verify")
    runner, rule = package.RUNNER(device), package.RULES[name]
    if kernel not in {k.name for k in rule.kernels}:
        pytest.skip(f"{name} has no {kernel} kernel")
    if kernel == "cpu" and device != "cpu":
        pytest.skip("the arrays are on a GPU")
    if kernel == "triton" and not importlib.util.find_spec("triton"):
        pytest.skip("triton is not installed")
    if kernel == "cpu" and dtype == "float16":
        pytest.skip("the cpu kernels refuse float16")
    if kernel == "cpu" and (reason := core(framework).available()) is not None:
        pytest.skip(reason)
    # Triton's interpreter, unlike its compiler, reads most of them as zeros in bfloat16
    if framework == "torch" and kernel == "triton" and device == "cpu":
        gpu_instructions.approximate(monkeypatch)
    flushes = framework == "jax" or (kernel == "triton" and device == "cpu")
    wrong = []
    for index in range(len(options_of(rule.spec))):
        arrays, dy, options, found = wanted(name, index, dtype, flushes)
        case = Case("every value", arrays, options)
        y, _ = runner.value(rule, kernel, case, dtype)
        grads = runner.gradient(rule, kernel, case, dy, dtype)
        for what, got, (low, high) in zip(
            ("y", *(f"d{a}" for a in arrays)), (y, *grads), found, strict=True
        ):
            right = np.where(np.isnan(low), np.isnan(got), (low <= got) & (got <= high))
            at = np.flatnonzero(~right)
            wrong += [
                f"{what} {options} at {[float(a[i]) for a in arrays.values()]}: {got[i]}, "
                f"expected {low[i]} to {high[i]} ({len(at)} such)"
                for i in at[:: max(1, len(at) // 3)]
            ]
    assert not wrong, "\n".join(wrong)
