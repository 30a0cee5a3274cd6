"""Results written past the caches: the same bits as any other, to the last element, and for large
results alone."""

import ctypes

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx.verify.draw import Draw
from bpx_torch import RULES, random
from bpx_torch.kernels.cpu import elementwise
from bpx_torch.layers import dropout
from tests.native_streaming import streamed

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

NEVER = 2**62
SIZES = (1, 31, 64, 65, 127, 129, 20_011)  # one with several chunks
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def with_and_without(f, *arrays):
    """y and the gradients, past the caches and not."""
    found = []
    for least in (NEVER, 1):
        leaves = [a.detach().requires_grad_() for a in arrays]
        with streamed(least):
            y = f(*leaves)
            dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(7)).to(y.dtype)
            found.append((y.detach(), *torch.autograd.grad(y, leaves, dy)))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a.view(torch.uint8), b.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", sorted(elementwise.NATIVE))
def test_the_same_bits(name, dtype):
    rule = RULES[name]
    options = rule.spec.complete(next(iter(rule.spec.cases(Draw(name)))).options)
    for size in SIZES:
        generator = torch.Generator().manual_seed(size)
        x = torch.randn(size, generator=generator).to(dtype)
        with_and_without(lambda x: rule(x, **options), x)


ROWS = {
    "layer_norm": ({}, "xww"),
    "rms_norm": ({}, "xw"),
    "softmax": ({"dim": -1}, "x"),
    "log_softmax": ({"dim": -1}, "x"),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_the_same_bits_in_rows(name, dtype):
    """Rows of whole blocks, with a rest, and ones that do not begin at 16 bytes."""
    options, arrays = ROWS[name]
    for rows, columns in ((5, 256), (301, 136), (6, 257), (3, 40_000)):
        generator = torch.Generator().manual_seed(columns)
        shapes = {"x": (rows, columns), "w": (columns,)}
        given = [torch.randn(shapes[a], generator=generator).to(dtype) for a in arrays]
        with_and_without(lambda *a: RULES[name](*a, **options), *given)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [7, 8, 72, 1003, 20_011])
def test_the_same_bits_of_dropout(size, dtype):
    x = torch.randn(size, generator=torch.Generator().manual_seed(size)).to(dtype)
    with_and_without(lambda x: dropout.drawn(x, random.key(3), p=0.3), x)


def relu(x, y):
    """The kernel by itself, on addresses of one's own."""
    call = np.array([x, y, 1001, 0, 0], np.int64).tobytes()
    native.check(native.kernel("relu_forward_f32")(call, None, None))


@pytest.mark.parametrize("offset", [0, 4, 12, 16, 20])
def test_where_results_begin(offset):
    """Nothing before them, nothing behind; results that do not begin at 16 bytes too."""
    x = torch.randn(1001, generator=torch.Generator().manual_seed(1))
    place = torch.full((1040,), torch.pi)
    begin = (-place.data_ptr() % 64 + offset) // 4
    with streamed():
        relu(x.data_ptr(), place.data_ptr() + 4 * begin)
    assert torch.equal(place[begin : begin + 1001], x.clamp(min=0))
    assert (place[:begin] == torch.pi).all()
    assert (place[begin + 1001 :] == torch.pi).all()


def test_over_what_they_are_made_of():
    x = torch.randn(1001, generator=torch.Generator().manual_seed(2))
    want = x.clamp(min=0)
    with streamed():
        relu(x.data_ptr(), x.data_ptr())
    assert torch.equal(x, want)


def test_the_cores_own_choice():
    """Half of a cache that a core shares: 256 KiB at least, of a processor as it is today."""
    switch = native.library().bpx_stream_from
    with streamed(1), streamed(0):
        switch.restype = ctypes.c_int64
        assert 2**18 <= switch(0) <= 2**31
