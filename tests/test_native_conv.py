"""The native gradient of a convolution's weight beside the plain rules' match."""

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx_torch._conv import match
from bpx_torch.kernels.cpu import conv as cpu

pytestmark = pytest.mark.skipif(native.available() is not None, reason="no native library")

# rows, channels of wide, sizes of narrow, channels of narrow, kernel, stride, low, dilation, groups
SIZES = {
    "odd": (3, 5, (4, 7), 6, (3, 2), (2, 1), (1, 0), (1, 1), 1),
    "blocks of channels": (2, 19, (5, 6), 35, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "a whole panel": (1, 8, (3, 3), 32, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "half a panel": (2, 3, (9, 4), 15, (2, 2), (1, 2), (0, 1), (1, 1), 1),
    "a vector and a half": (2, 3, (7, 5), 23, (2, 2), (1, 1), (0, 1), (1, 1), 1),
    "groups": (2, 6, (5, 4), 9, (2, 3), (1, 1), (0, 1), (1, 1), 3),
    "groups, in tiles": (2, 21, (5, 4), 18, (2, 3), (1, 1), (0, 1), (1, 1), 3),
    "dilated": (2, 4, (6, 5), 6, (3, 2), (1, 2), (2, 1), (2, 3), 2),
    "lines in blocks": (2, 3, (31, 20), 7, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "a line in spans": (2, 3, (421,), 5, (4,), (2,), (1,), (3,), 1),
    "spans of lines": (1, 2, (3, 250), 4, (2, 3), (1, 1), (1, 2), (1, 1), 1),
    "volumes": (2, 3, (2, 3, 4), 34, (2, 3, 2), (2, 1, 2), (1, 1, 0), (1, 2, 1), 1),
    "zeros no window crosses": (1, 2, (9, 12), 3, (2, 2), (1, 1), (3, 4), (1, 1), 1),
    "more zeros than values": (1, 2, (4, 5), 3, (2, 2), (1, 1), (3, 4), (1, 1), 1),
    "depthwise": (3, 5, (6, 7), 5, (3, 2), (1, 1), (1, 0), (1, 1), 5),
    "depthwise, strided": (2, 3, (4, 5), 6, (3, 3), (2, 3), (2, 1), (1, 2), 3),
    "depthwise line": (2, 4, (300,), 4, (4,), (1,), (3,), (1,), 4),
    "few channels, volumes": (2, 2, (2, 3, 4), 3, (2, 1, 3), (1, 2, 1), (1, 0, 2), (2, 1, 1), 1),
    "many rows": (37, 1, (3,), 2, (2,), (1,), (1,), (1,), 1),
}


def draw(name, dtype):
    rows, ins, places, outs, kernel, stride, low, dilation, groups = SIZES[name]
    generator = torch.Generator().manual_seed(len(name))
    sizes = [
        max((t - 1) * s + d * (w - 1) + 1 - 2 * p, 1)
        for t, s, d, w, p in zip(places, stride, dilation, kernel, low, strict=True)
    ]
    wide = torch.randn(rows, ins, *sizes, generator=generator, dtype=dtype)
    narrow = torch.randn(rows, outs, *places, generator=generator, dtype=dtype)
    return wide, narrow, kernel, stride, low, dilation, groups


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_plain_rules_match(name, dtype):
    given = draw(name, dtype)
    wide, narrow = (a.double() for a in given[:2])
    want = match(wide, narrow, *given[2:])
    found = cpu.match(*given)
    # sums of the products' sizes, each rounded as many times as there are terms at most
    size = match(wide.abs(), narrow.abs(), *given[2:])
    terms = narrow.shape[0] * narrow[0, 0].numel()
    assert found.dtype == dtype
    assert ((found - want).abs() <= torch.finfo(dtype).eps * terms * size).all()


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_sum_of_what_is_matched(name, dtype):
    """Beside the same weight's gradient, bit by bit, and only where it is asked for."""
    wide, narrow, kernel, *rest = draw(name, dtype)
    weight = wide.new_empty(narrow.shape[1], wide.shape[1] // rest[-1], *kernel)
    made, total = cpu.parameters(wide, narrow, weight, *rest, (True, True))
    alone, none = cpu.parameters(wide, narrow, weight, *rest, (True, False))
    assert none is None
    assert torch.equal(made, alone)
    axes = (0, *range(2, narrow.ndim))
    terms = narrow.shape[0] * narrow[0, 0].numel()
    size = narrow.abs().double().sum(axes)
    assert total.dtype == dtype
    assert total.shape == narrow.shape[1:2]
    off = (total - narrow.double().sum(axes)).abs()
    assert (off <= torch.finfo(dtype).eps * terms * size).all()
    assert cpu.parameters(wide, narrow, weight, *rest, (False, True))[0] is None


@pytest.mark.parametrize("name", [name for name in SIZES if name != "more zeros than values"])
def test_the_plain_rules_widen(name, monkeypatch):
    """By the weight turned around where the windows are one apart and the zeros are no more than
    they reach; what is cut off behind is not there."""
    wide, narrow, kernel, stride, low, dilation, groups = draw(name, torch.float64)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(
        narrow.shape[1], wide.shape[1] // groups, *kernel, generator=generator, dtype=torch.float64
    )
    rest = stride, low, dilation, groups
    calls = []
    monkeypatch.setattr(cpu, "PLACES", 1)
    plain = cpu._conv.widen
    monkeypatch.setattr(cpu._conv, "widen", lambda *a: calls.append(a) or plain(*a))
    for sizes in (wide.shape[2:], [max(n - 1, 1) for n in wide.shape[2:]]):
        want = plain(narrow, weight, sizes, *rest)
        found = cpu.widen(narrow, weight, sizes, *rest)
        assert found.shape == want.shape
        size = plain(narrow.abs(), weight.abs(), sizes, *rest)
        terms = weight[:, 0].numel()
        assert ((found - want).abs() <= torch.finfo(torch.float64).eps * terms * size).all()
    reach = (d * (w - 1) for d, w in zip(dilation, kernel, strict=True))
    turned = set(stride) == {1} and all(p <= r for p, r in zip(low, reach, strict=True))
    assert bool(calls) != turned


@pytest.mark.parametrize("name", ["blocks of channels", "many rows", "groups", "depthwise"])
def test_the_bits_do_not_depend_on_threads(name):
    given = draw(name, torch.float32)
    want = cpu.match(*given)
    try:
        torch.set_num_threads(3)
        assert torch.equal(cpu.match(*given), want)
    finally:
        torch.set_num_threads(1)


def test_what_is_not_finite_stays_where_it_is():
    wide, narrow, *rest = draw("odd", torch.float32)
    wide[0, 2, 3, 4] = torch.nan
    narrow[1, 4, 2, 2] = torch.inf
    found, want = cpu.match(wide, narrow, *rest), match(wide, narrow, *rest)
    assert torch.equal(found.isnan(), want.isnan())
    assert found.isnan().any()
    assert not found.isnan().all()
    assert torch.equal(found.isinf(), want.isinf())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x, w: (x.bfloat16(), w.bfloat16()), "it takes float32 and float64, not bfloat16"),
        (
            lambda x, w: (x.contiguous(memory_format=torch.channels_last), w),
            "the channels are innermost, or the arrays have gaps",
        ),
        (lambda x, w: (x, w.bfloat16()), "an argument is bfloat16 beside float32"),
        (
            lambda x, w: (x, w.contiguous(memory_format=torch.channels_last)),
            "the channels are innermost, or the arrays have gaps",
        ),
        (lambda x, w: (x[:0], w), "an argument has no elements"),
    ],
)
def test_what_it_refuses(change, reason):
    x, weight = torch.randn(2, 3, 5, 6), torch.randn(8, 3, 2, 2)
    assert cpu.refuses((x, weight, None), {}) is None
    assert cpu.refuses((x, weight, weight + 1, None), {}) is None
    x, changed = change(x, weight)
    assert cpu.refuses((x, changed, None), {}) == reason
    # a weight for the errors, which forward does not read, counts as well
    assert cpu.refuses((x, weight.to(x.dtype), changed, None), {}) == reason
