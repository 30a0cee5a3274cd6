"""The native kernels of layers in torch at sizes of many chunks: against the plain rule in float64,
in every layout, the same bits on any number of threads."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx.layers import dropout as spec
from bpx_torch import RULES, random
from bpx_torch.kernels.cpu import dropout as cpu_dropout
from bpx_torch.layers import dropout

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def index(high, *shape):
    generator = torch.Generator().manual_seed(high)
    return torch.randint(high, shape, generator=generator)


def norm(*shape):
    return draw(*shape) + 3, draw(shape[1]) + 2, draw(shape[1], seed=1)


def running(n):
    return draw(n, seed=2), draw(n, seed=3).abs() + 0.1


CASES = {
    "rms_norm": ("rms_norm", (draw(301, 257), draw(257)), {}),
    "rms_norm, no weight": ("rms_norm", (draw(3, 40_001), None), {}),
    "group_norm": ("group_norm", norm(5, 12, 37, 41), {"num_groups": 4}),
    "group_norm, one group": ("group_norm", norm(3, 6, 5003), {"num_groups": 1}),
    "group_norm, no places": ("group_norm", norm(401, 60), {"num_groups": 3}),
    "group_norm, no weight": ("group_norm", (draw(9, 8, 301), None, None), {"num_groups": 2}),
    "instance_norm": ("instance_norm", norm(5, 7, 33, 31), {}),
    "batch_norm": ("batch_norm", (*norm(9, 7, 19, 37), None, None), {"training": True}),
    "batch_norm, short": ("batch_norm", (*norm(70, 301, 3), None, None), {"training": True}),
    "batch_norm, short, running": ("batch_norm", (*norm(41, 37, 7, 9), *running(37)), {}),
    "batch_norm, rows": ("batch_norm", (*norm(1201, 53), None, None), {"training": True}),
    "batch_norm, wide rows": ("batch_norm", (*norm(401, 433), None, None), {"training": True}),
    "batch_norm, running": ("batch_norm", (*norm(9, 7, 19, 37), *running(7)), {}),
    "batch_norm, rows, running": ("batch_norm", (*norm(601, 53), *running(53)), {}),
    "embedding": ("embedding", (index(1501, 301, 7), draw(1501, 67)), {"padding_idx": 3}),
    "embedding_bag": (
        "embedding_bag",
        (index(1501, 3001), draw(1501, 67), index(97, 3001), draw(3001)),
        {"num_bags": 98, "padding_idx": 3},
    ),
    "embedding, one row": ("embedding", (index(1, 9001), draw(1, 5)), {}),
    "dropout": ("dropout", (draw(30_001), index(256, 3751).byte()), {"p": 0.3}),
    "dropout, channels": (
        "dropout",
        (draw(5, 7, 19, 31), index(256, 5).byte()),
        {"broadcast_dims": (2, 3)},
    ),
    "dropout, not the last": (
        "dropout",
        (draw(9, 7, 501), index(256, 564).byte()),
        {"broadcast_dims": (1,)},
    ),
    "rope": ("rope", (draw(3, 5, 301, 10), draw(301, 4), draw(301, 4, seed=1)), {}),
    "rope, interleaved": (
        "rope",
        (draw(11, 301, 11), draw(301, 5), draw(301, 5, seed=1)),
        {"interleaved": True},
    ),
    "prelu": ("prelu", (draw(30_001), draw(1)), {}),
    "prelu, channels": ("prelu", (draw(5, 7, 37, 41), draw(7)), {}),
    "prelu, last": ("prelu", (draw(501, 67), draw(67)), {"axis": -1}),
    "max_pool": (
        "max_pool",
        (draw(5, 7, 37, 41).round(decimals=1),),
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1},
    ),
    "max_pool, dilation": (
        "max_pool",
        (draw(3, 2, 9, 31, 17).round(decimals=1),),
        {"kernel_size": 3, "stride": (1, 2, 3), "dilation": (2, 3, 2), "ceil_mode": True},
    ),
    "max_pool, long": ("max_pool", (draw(2, 3, 9001),), {}),
    "avg_pool": (
        "avg_pool",
        (draw(5, 7, 37, 41),),
        {"kernel_size": (3, 5), "stride": (2, 1), "padding": (1, 2), "count_include_pad": False},
    ),
    "avg_pool, ceil_mode": (
        "avg_pool",
        (draw(3, 2, 9, 31, 17),),
        {"kernel_size": (2, 3, 4), "stride": (1, 2, 3), "padding": 1, "ceil_mode": True},
    ),
    "avg_pool, divisor": ("avg_pool", (draw(2, 3, 9001),), {"divisor_override": -3}),
    "adaptive_max_pool": (
        "adaptive_max_pool",
        (draw(5, 7, 37, 41).round(decimals=1),),
        {"output_size": (5, 50)},
    ),
    "adaptive_max_pool, whole": ("adaptive_max_pool", (draw(2, 3, 9001),), {}),
    "adaptive_avg_pool": ("adaptive_avg_pool", (draw(5, 7, 37, 41),), {"output_size": (5, 50)}),
    "adaptive_avg_pool, 3d": (
        "adaptive_avg_pool",
        (draw(3, 2, 9, 31, 17),),
        {"output_size": (2, None, 1)},
    ),
    "upsample_nearest": ("upsample_nearest", (draw(5, 7, 37, 41),), {"size": (50, 23)}),
    "upsample_nearest, exact": (
        "upsample_nearest",
        (draw(3, 2, 9, 31, 17),),
        {"scale_factor": (2.3, 1.0, 0.6), "exact": True},
    ),
    "upsample_nearest, twice": ("upsample_nearest", (draw(2, 3, 9001),), {}),
    "upsample_linear": ("upsample_linear", (draw(5, 7, 37, 41),), {"size": (50, 23)}),
    "upsample_linear, 3d": (
        "upsample_linear",
        (draw(3, 2, 9, 31, 17),),
        {"scale_factor": (2.3, 1.4, 0.3)},
    ),
    "upsample_linear, corners": (
        "upsample_linear",
        (draw(5, 7, 37, 41),),
        {"size": (1, 90), "align_corners": True},
    ),
    "upsample_linear, twice": ("upsample_linear", (draw(2, 3, 9001),), {}),
    "affine": ("affine", (draw(30_001), draw(), draw(seed=1)), {}),
}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def both(name, arrays, options, dtype, kernel, layout=torch.contiguous_format):
    """y, the residuals and every gradient."""

    def given(a):
        if a is None or not a.is_floating_point():
            return a
        return a.to(dtype, memory_format=layout if a.ndim == 4 else torch.preserve_format)

    rule, arrays = RULES[name], tuple(given(a) for a in arrays)
    y, residuals = rule.forward(*arrays, kernel=kernel, **options)
    dy = given(draw(*y.shape, seed=9))
    grads = rule.backward(dy, arrays, residuals, kernel=kernel, **options)
    return [y, *residuals, *(g for g in grads if g is not None)]


@pytest.mark.parametrize("case", CASES)
def test_many_chunks_give_what_the_plain_rule_gives(case, threads):
    name, arrays, options = CASES[case]
    want = both(name, arrays, options, torch.float64, "plain")
    exact = both(name, arrays, options, torch.float64, "cpu")
    narrow = both(name, arrays, options, torch.bfloat16, "cpu")
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(both(name, arrays, options, torch.float32, "cpu"))
    rows = zip(want, exact, narrow, *results, strict=True)
    for at, (w, e, half, one, *others) in enumerate(rows):
        assert all(torch.equal(one, o) for o in others), "other bits on other threads"
        if not w.numel():  # what inference does not keep
            continue
        for got, eps in ((e, 2**-52), (one, 2**-23), (half, 2**-7)):
            scale = w.abs().max() + 1
            error = (got.double() - w).abs().max() / scale
            # a sum of n terms of random sign is off by sqrt(n) eps of the largest of them
            assert error < 64 * eps * (1 if at == 0 else arrays[0].numel() ** 0.5 / 8), (at, eps)


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][1][0].ndim == 4 and "rope" not in c])
def test_channels_last_stays_channels_last(case):
    name, arrays, options = CASES[case]
    want = both(name, arrays, options, torch.float64, "plain")
    got = both(name, arrays, options, torch.float64, "cpu", torch.channels_last)
    for w, g in zip(want, got, strict=True):
        assert torch.allclose(w, g, rtol=1e-11, atol=1e-11)
        assert g.ndim < 4 or g.is_contiguous(memory_format=torch.channels_last)


FAR = ("group_norm", "instance_norm", "batch_norm", "batch_norm, short", "batch_norm, rows")


@pytest.mark.parametrize("case", FAR)
def test_a_large_mean_costs_no_digits(case):
    """mean and xhat shift by what float32 rounds off the mean, 2^-12 here, unless it is seen to."""
    name, arrays, options = CASES[case]
    x = (arrays[0] * 64).round() / 64 + 4096  # float32 holds these
    rule, wide, narrow = RULES[name], (x, *arrays[1:]), (x.float(), *arrays[1:])
    y, residuals = rule.forward(*wide, **options)
    dy = ((y.float() + 1) * 64).round() / 64  # along y, and far from 0 itself
    want = [y, *rule.backward(dy.double(), wide, residuals, **options)]
    y, residuals = rule.forward(*narrow, kernel="cpu", **options)
    got = [y, *rule.backward(dy, narrow, residuals, kernel="cpu", **options)]
    scales = want[0], dy.abs().max() * arrays[1], want[2]  # dx itself cancels: dy is along y
    for w, g, scale in zip(want[:3], got[:3], scales, strict=True):
        assert (g - w).abs().max() < 2**-18 * scale.abs().max()


def test_the_mask_of_a_key_is_that_of_the_spec():
    for count, p in ((1, 0.5), (8, 0.3), (255, 0.9), (40_003, 0.1), (77, 0.0), (77, 1.0)):
        key = random.fold_in(7, count)
        want = spec.keep_bits(np.asarray(key), (count,), p=p)
        assert cpu_dropout.refuses_key(key, count) is None
        assert (dropout.keep_bits(key, (count,), p=p).numpy() == want).all()
