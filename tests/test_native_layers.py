"""The native kernels of layers in torch at sizes of many chunks: against the plain rule in float64,
in every layout, the same bits on any number of threads."""

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx_torch import RULES

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


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
    "batch_norm, rows": ("batch_norm", (*norm(1201, 53), None, None), {"training": True}),
    "batch_norm, running": ("batch_norm", (*norm(9, 7, 19, 37), *running(7)), {}),
    "batch_norm, rows, running": ("batch_norm", (*norm(601, 53), *running(53)), {}),
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
        for got, eps in ((e, 2**-52), (one, 2**-23), (half, 2**-7)):
            scale = w.abs().max() + 1
            error = (got.double() - w).abs().max() / scale
            # a sum of n terms of random sign is off by sqrt(n) eps of the largest of them
            assert error < 64 * eps * (1 if at == 0 else arrays[0].numel() ** 0.5 / 8), (at, eps)


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][1][0].ndim == 4])
def test_channels_last_stays_channels_last(case):
    name, arrays, options = CASES[case]
    want = both(name, arrays, options, torch.float64, "plain")
    got = both(name, arrays, options, torch.float64, "cpu", torch.channels_last)
    for w, g in zip(want, got, strict=True):
        assert torch.allclose(w, g, rtol=1e-11, atol=1e-11)
        assert g.ndim < 4 or g.is_contiguous(memory_format=torch.channels_last)


FAR = ("group_norm", "instance_norm", "batch_norm", "batch_norm, rows")


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
