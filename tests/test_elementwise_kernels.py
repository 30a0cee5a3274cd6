"""The native kernels of elementwise rows beside their plain rules: what verify_rule leaves out.

The rules' own cases, dtypes and residuals are in tests/test_rules.py, every bfloat16 value in
tests/test_every_value.py, for each kernel.
"""

import importlib

import numpy as np
import pytest

from bpx import native, rule

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))
FRAMEWORKS = ("torch", "jax")
U = {"float64": 2.0**-53, "float32": 2.0**-24}


class Face:
    """Arrays in and out of a framework, and its rules."""

    def __init__(self, name):
        self.lib = pytest.importorskip(name)
        self.name, self.rules = name, importlib.import_module(f"bpx_{name}.verify").RULES
        if name == "jax":
            reason = importlib.import_module("bpx_jax.kernels.cpu._ffi").available()
            if reason is not None:
                pytest.skip(reason)

    def array(self, a):
        return self.lib.tensor(a) if self.name == "torch" else self.lib.numpy.asarray(a)

    def both(self, entry, kernel, dy, *arrays, **options):
        """y and the gradients of every argument."""
        owner = self.rules[entry]
        given = [self.array(a) for a in arrays]
        with rule.use(kernel):
            y, residuals = owner.forward(*given, kernel=kernel, **options)
            saves = owner.spec.saves
            kept = [
                g if a.name in saves else None for g, a in zip(given, owner.spec.args, strict=True)
            ]
            needs = (True,) * len(given)
            grads = owner.backward(self.array(dy), kept, residuals, needs, kernel=kernel, **options)
        return [np.asarray(a) for a in (y, *grads)]


@pytest.fixture(params=FRAMEWORKS)
def face(request):
    if request.param == "jax":
        with pytest.importorskip("jax").enable_x64(True):
            yield Face("jax")
    else:
        yield Face("torch")


def draw(n, dtype, seed):
    return np.random.default_rng([seed, n]).normal(size=n).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("entry", ["sin", "cos"])
def test_a_block_with_a_huge_value_beside_blocks_without(face, entry, dtype):
    """The vectorised sin is for |x| up to 2^19: what shares 512 elements with a larger one, an
    infinity or a NaN is computed another way, and as well."""
    x, dy = 30 * draw(1700, dtype, 0), draw(1700, dtype, 1)
    x[[3, 600, 601, 1699]] = 1e22, -3e6, np.inf, np.nan
    x[1200] = 2.0**19
    y, dx = face.both(entry, "cpu", dy, x)
    wide = x.astype(np.longdouble)
    with np.errstate(invalid="ignore"):
        sine, cosine = np.sin(wide), np.cos(wide)
    want, slope = (sine, cosine) if entry == "sin" else (cosine, -sine)
    for got, right in ((y, want), (dx, dy * slope)):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(right))
        finite = ~np.isnan(right)
        # 2 units of sin, 1 of the product
        assert (np.abs(got - right) <= 8 * U[dtype] * np.maximum(1, np.abs(dy)))[finite].all()
        assert (got == np.asarray(right, dtype))[finite].mean() > 0.5


@pytest.mark.parametrize("entry", ["silu", "leaky_relu", "relu", "sin", "swiglu"])
def test_every_chunk_on_every_thread(face, entry):
    """70,001 elements are 8 chunks, which end at multiples of 64."""
    if "cpu" not in {k.name for k in face.rules[entry].kernels}:
        pytest.skip(f"{entry} has no cpu kernel here")
    n = 1 + (entry == "swiglu")
    arrays, dy = [draw(70001, "float32", s) for s in range(n)], draw(70001, "float32", 9)
    for got, want in zip(
        face.both(entry, "cpu", dy, *arrays), face.both(entry, "plain", dy, *arrays), strict=True
    ):
        scale = np.abs(want) + np.abs(dy)  # y and dx are at most so large, products of a few
        assert (np.abs(got - want) <= 16 * U["float32"] * (scale + 1)).all()


def test_only_the_gradients_that_are_needed(face):
    """Up to rounding: the compiler fuses multiply-adds of each loop in its own way."""
    arrays = [draw(1000, "float32", s) for s in range(3)]
    x, gate, dy = map(face.array, arrays)
    limit = 8 * U["float32"] * (1 + np.abs(arrays[0])) * (1 + np.abs(arrays[2]))
    for name in ("glu", "swiglu", "geglu", "reglu"):
        owner = face.rules[name]
        if "cpu" not in {k.name for k in owner.kernels}:
            continue
        with rule.use("cpu"):
            whole = owner.backward(dy, (x, gate), (), (True, True), kernel="cpu")
            for needs in ((True, False), (False, True)):
                found = owner.backward(dy, (x, gate), (), needs, kernel="cpu")
                for got, want, need in zip(found, whole, needs, strict=True):
                    assert (got is not None) == need
                    if need:
                        assert (np.abs(np.asarray(got) - np.asarray(want)) <= limit).all()


def test_layouts_of_torch():
    """Transposed and channels-last arrays are run in their own order, which the result keeps;
    strided and expanded ones are copied first."""
    torch = pytest.importorskip("torch")
    from bpx_torch.activations.piecewise import leaky_relu
    from bpx_torch.activations.smooth import gelu

    x = torch.randn(2, 3, 4, 5)
    dy = torch.randn(2, 3, 4, 5)
    for f in (gelu, leaky_relu):

        def both(x, dy, f=f):
            x = x.detach().requires_grad_()
            with rule.use("cpu"):
                y = f(x)
            (dx,) = torch.autograd.grad(y, x, dy)
            return y.detach(), dx

        want = both(x, dy)
        last = torch.channels_last
        layouts = {
            "channels last": (x.contiguous(memory_format=last), dy.contiguous(memory_format=last)),
            "one of two": (x.contiguous(memory_format=last), dy),
            "transposed": (x.mT.contiguous().mT, dy.mT.contiguous().mT),
            "strided": (x.repeat_interleave(2, 1)[:, ::2], dy.repeat_interleave(2, -1)[..., ::2]),
        }
        for name, given in layouts.items():
            y, dx = both(*given)
            assert torch.equal(y, want[0]), name
            assert torch.equal(dx, want[1]), name
        assert both(*layouts["channels last"])[0].is_contiguous(memory_format=last)
        expanded = dy[:, :1].expand(2, 3, 4, 5)
        for got, right in zip(both(x, expanded), both(x, expanded.contiguous()), strict=True):
            assert torch.equal(got, right)
        negated = both(torch._neg_view(-x), torch._neg_view(-dy))
        for got, right in zip(negated, want, strict=True):
            assert torch.equal(got, right)
