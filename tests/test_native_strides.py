"""Native attention reads its arrays as they lie and gives results in their order of axes."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx_torch.kernels.cpu import attention
from bpx_torch.layers import attention as layer

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

OPTIONS = {"causal": True, "scale": None, "softcap": None, "window": None}


def whole(*shape, dtype):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(dtype)


LAYOUTS = {
    "without gaps": lambda b, h, t, d, dtype: whole(b, h, t, d, dtype=dtype),
    "heads of features": lambda b, h, t, d, dtype: whole(b, t, h, d, dtype=dtype).transpose(1, 2),
    "one of three": lambda b, h, t, d, dtype: whole(b, t, 3, h, d + 2, dtype=dtype)[
        :, :, 1, :, 1:-1
    ].transpose(1, 2),
    "time first": lambda b, h, t, d, dtype: whole(t, b, h, d, dtype=dtype).permute(1, 2, 0, 3),
    "one head for all": lambda b, h, t, d, dtype: whole(b, 1, t, d, dtype=dtype).expand(b, h, t, d),
    "features apart": lambda b, h, t, d, dtype: whole(b, h, d, t, dtype=dtype).mT,
}


def run(arrays, dy, options):
    given = (*arrays, None, None, None)
    y, residuals = attention.forward(*given, **options)
    needs = (True, True, True, False, False, False)
    return y, *residuals, *attention.backward(dy, given, residuals, needs, **options)[:3]


# rows that see more than a block of keys, grouped heads; all keys at once
@pytest.mark.parametrize(
    ("sizes", "options"),
    [((2, 4, 2, 150, 200, 5, 3), {}), ((3, 2, 2, 9, 7, 4, 6), {"causal": False, "softcap": 2.0})],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_bits_of_arrays_without_gaps(sizes, options, dtype):
    b, h, k, t, s, d, e = sizes
    for one, other in itertools.product(LAYOUTS.values(), repeat=2):
        query, key = one(b, h, t, d, dtype), other(b, k, s, d, dtype)
        value, dy = one(b, k, s, e, dtype), other(b, h, t, e, dtype)
        found = run((query, key, value), dy, OPTIONS | options)
        packed = [a.contiguous() for a in (query, key, value)]
        expected = run(packed, dy.contiguous(), OPTIONS | options)
        for a, b_ in zip(found, expected, strict=True):
            assert torch.equal(a, b_)


def test_results_in_the_order_of_the_arguments():
    split = LAYOUTS["heads of features"]
    query, key, value = (split(2, 3, n, 4, torch.float32).requires_grad_() for n in (5, 6, 6))
    for _ in range(4):  # the short way, and where calls repeat
        y = layer.attention(query, key, value)
        grads = torch.autograd.grad(y, (query, key, value), torch.ones_like(y))
        for a in (y, *grads):
            assert a.transpose(1, 2).is_contiguous()
            assert not a.is_contiguous()
