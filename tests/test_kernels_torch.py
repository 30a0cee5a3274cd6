"""layer_norm's kernels inside torch: layouts, threads, and what they refuse."""

import ctypes
import sys
import threading

import pytest

torch = pytest.importorskip("torch")

from bpx import native, rule
from bpx.spec import SpecError
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.cpu import _pool
from bpx_torch.kernels.cpu import layer_norm as cpu
from bpx_torch.layers.layer_norm import layer_norm

needs_library = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))
ALL = (True, True, True)


def draw(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    size = (shape, shape[-1:], shape[-1:], shape)
    return [torch.randn(s, generator=generator, dtype=dtype) for s in size]


def both(x, w, b, dy):
    y, residuals = cpu.forward(x, w, b, eps=1e-5)
    return (y, *residuals, *cpu.backward(dy, (x, w, None), residuals, ALL, eps=1e-5))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_number_of_threads_changes_no_bit(threads, dtype):
    given = draw(301, 257, dtype=dtype)
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(both(*given))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@needs_library
def test_chunks_run_on_the_threads_of_torch(threads):
    if sys.platform != "linux":
        pytest.skip(f"serial here: {_pool.serial()}")
    assert _pool.serial() is None
    threads(2)
    seen, barrier = set(), threading.Barrier(2, timeout=20)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    def task(state, chunk):
        seen.add((chunk, threading.get_native_id()))
        barrier.wait()  # passes only if two chunks are under way at once

    _, host = _pool.parallel_for()
    native.library().bpx_openmp_for(host, ctypes.c_int64(2), task, None)
    assert sorted(c for c, _ in seen) == [0, 1]
    assert len({thread for _, thread in seen}) == 2
    threads(1)
    assert _pool.parallel_for() == (None, None)


@needs_library
def test_strided_and_expanded_arrays():
    x, w, b, dy = draw(6, 10)
    want = both(x, w, b, dy)
    column_major = x.t().contiguous().t(), w.repeat_interleave(2)[::2], b, dy.t().contiguous().t()
    for a, c in zip(both(*column_major), want, strict=True):
        assert torch.equal(a, c)
    expanded = dy[:1].expand(6, 10)
    for a, c in zip(both(x, w, b, expanded), both(x, w, b, expanded.clone()), strict=True):
        assert torch.equal(a, c)
    negated = torch._neg_view(-dy)
    assert negated.is_neg()
    assert negated.is_contiguous()
    for a, c in zip(both(x, w, b, negated), want, strict=True):
        assert torch.equal(a, c)


@needs_library
def test_autograd_through_the_rule():
    x, w, b, _ = (a.requires_grad_() for a in draw(5, 7, dtype=torch.float64))
    with rule.use("cpu"):
        assert torch.autograd.gradcheck(layer_norm, (x, w, b))
        assert torch.autograd.gradgradcheck(layer_norm, (x, w, b))
        y = layer_norm(x, w, b)
    assert y.grad_fn.name() == "layer_norm_cpuBackward"
    assert layer_norm(x, w, b).grad_fn.name() == "layer_norm_cpuBackward", "not chosen by itself"


def reason(*arrays):
    return cpu.refuses(arrays, {"N": (2,), "D": arrays[0].shape[-1]})


def test_what_the_cpu_kernel_refuses():
    x = torch.randn(2, 3)
    assert reason(x.to("meta"), None, None) == "an argument is on meta"
    assert reason(x, x[0].to("meta"), None) == "an argument is on meta"
    half = reason(x.half(), None, None)
    assert half == "it takes float32, float64 and bfloat16, not float16"
    assert reason(x, None, x[0].double()) == "an argument is float64 beside float32"
    assert reason(x[:, :0], None, None) == "an argument has no elements"
    own = x.as_subclass(type("Own", (torch.Tensor,), {}))
    assert reason(own, None, None) == "an argument is a Own"
    with torch.autograd.forward_ad.dual_level():
        assert reason(x, None, None) == "inside forward-mode AD"
    with torch._subclasses.FakeTensorMode():
        assert reason(x, None, None) == "inside a tracing or dispatch mode"


def test_transforms_and_compilers_get_the_plain_rule():
    x, w, b, _ = draw(4, 7)
    want = layer_norm(x, w, b)
    assert torch.allclose(torch.func.vmap(layer_norm, (0, None, None))(x, w, b), want, atol=1e-6)
    with rule.use("cpu"), pytest.raises(SpecError, match=r"cpu: inside a torch.func transform"):
        torch.func.grad(lambda x: layer_norm(x, w, b).square().sum())(x)
    compiled = torch.compile(layer_norm, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(x, w, b), want, atol=1e-6)
    with torch.no_grad():
        graph = torch.fx.experimental.proxy_tensor.make_fx(lambda *a: layer_norm(*a))(x, w, b)
    assert torch.allclose(graph(x + 1, w, 2 * b), layer_norm(x + 1, w, 2 * b), atol=1e-6)


def test_triton_refuses_what_it_cannot_run():
    triton = pytest.importorskip("bpx_torch.kernels.triton.layer_norm")
    x = torch.randn(2, 3)
    assert triton.refuses((x, None, None), {"N": (2,), "D": 3}) == "x is on cpu"
    with rule.use("triton", interpret=True):
        assert triton.refuses((x, None, None), {"N": (2,), "D": 3}) is None
        long = triton.refuses((x, None, None), {"N": (2,), "D": 131072})
    assert long == "a row has 131072 elements, at most 65536 fit in one block"
    assert _opaque.refuses((x,)) is None


def test_rows_that_triton_refuses():
    softmax = pytest.importorskip("bpx_torch.kernels.triton.softmax")
    rms_norm = pytest.importorskip("bpx_torch.kernels.triton.rms_norm")
    x = torch.randn(2, 3)
    with rule.use("triton", interpret=True):
        assert rms_norm.refuses((x, x[0]), {"D": 3}) is None
        assert (
            rms_norm.refuses((x, x[0].double()), {"D": 3}) == "weight is float64 beside float32 x"
        )
        assert rms_norm.refuses((x[:, :0], None), {"D": 0}) == "a row has no elements"
        assert softmax.refuses((x[:0],), {}) == "x has no elements"
        assert softmax.refuses((x.to(torch.complex64),), {}) == "x is complex64"
