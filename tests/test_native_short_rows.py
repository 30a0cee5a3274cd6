"""Rows shorter than a vector, or with a part of one left over: the native kernels turn blocks of
them. Every length up to a block's, with blocks that are full and one that is not."""

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx_torch import RULES

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

ROWS = 2 * 64 + 9
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 13, 16, 20, 31, 32, 33, 50, 63, 64, 65)
TYPES = (torch.float64, torch.float32, torch.bfloat16)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(n):
    return (draw(ROWS, n),), {}


def labelled(n, **options):
    labels = torch.randint(n, (ROWS,), generator=torch.Generator().manual_seed(n))
    if "ignore_index" in options:  # in a full block, on its edge and in the last one
        labels[[0, 63, 64, 70, ROWS - 1]] = -100
    weight = 0.5 + draw(n, seed=2).abs() if options.pop("weighted", False) else None
    return (draw(ROWS, n), labels, weight), options


def soft(n, **options):
    weight = 0.5 + draw(n, seed=2).abs() if options.pop("weighted", False) else None
    return (draw(ROWS, n), draw(ROWS, n, seed=1).softmax(1), weight), options


def pairs(n, **options):
    return (draw(ROWS, n).log_softmax(1), draw(ROWS, n, seed=1).log_softmax(1)), options


CASES = {
    "softmax": ("softmax", softmax),
    "log_softmax": ("log_softmax", softmax),
    "cross_entropy": ("cross_entropy", lambda n: labelled(n, ignore_index=-100)),
    "cross_entropy, none": (
        "cross_entropy",
        lambda n: labelled(n, ignore_index=-100, reduction="none", label_smoothing=0.1),
    ),
    "cross_entropy, weighted": (
        "cross_entropy",
        lambda n: labelled(n, weighted=True, ignore_index=-100, label_smoothing=0.2),
    ),
    "soft_cross_entropy": ("soft_cross_entropy", soft),
    "soft_cross_entropy, weighted": (
        "soft_cross_entropy",
        lambda n: soft(n, weighted=True, reduction="none", label_smoothing=0.1),
    ),
    "jsd": ("jsd", pairs),
    "jsd, none": ("jsd", lambda n: pairs(n, reduction="none")),
}


def cast(arrays, dtype):
    return tuple(a.to(dtype) if a is not None and a.is_floating_point() else a for a in arrays)


def both(rule, arrays, options, kernel, dtype):
    """y, the residuals and every gradient, of a dy of that type, which differs from row to row."""
    y, residuals = rule.forward(*arrays, kernel=kernel, **options)
    dy = (1.5 + draw(*y.shape, seed=9).sin()).to(dtype).to(y.dtype)
    grads = rule.backward(dy, arrays, residuals, kernel=kernel, **options)
    return [y, *residuals, *(g for g in grads if g is not None)]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_rows_of_every_length(case, dtype):
    name, made = CASES[case]
    rule = RULES[name]
    for n in LENGTHS:
        arrays, options = made(n)
        arrays = cast(arrays, dtype)
        found = both(rule, arrays, options, "cpu", dtype)
        wanted = both(rule, cast(arrays, torch.float64), options, "plain", dtype)
        for at, (got, w) in enumerate(zip(found, wanted, strict=True)):
            bound = 64 * torch.finfo(got.dtype).eps * (w.abs().max() + 1)
            error = (got.double() - w).abs().max()
            assert error <= bound, f"{n} columns, output {at}: off by {error}, bound {bound}"


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cross_entropy"])
def test_a_row_touches_no_other_of_its_block(name):
    """A NaN of one row, infinities and a row of -inf alone stay there."""
    x = draw(ROWS, 10)
    spoiled = x.clone()
    spoiled[3, 4], spoiled[65, 2:], spoiled[ROWS - 1] = torch.nan, -torch.inf, -torch.inf
    rest = [i for i in range(ROWS) if i not in (3, 65, ROWS - 1)]
    labels = torch.arange(ROWS) % 10
    more = (labels, None) if name == "cross_entropy" else ()
    options = {"reduction": "none"} if more else {}
    clean = both(RULES[name], (x, *more), options, "cpu", torch.float64)
    dirty = both(RULES[name], (spoiled, *more), options, "cpu", torch.float64)
    plain = both(RULES[name], (spoiled, *more), options, "plain", torch.float64)
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a[rest], b[rest])
    for at in (0, -1):  # y and the gradient of x
        assert torch.equal(dirty[at].isnan(), plain[at].isnan())


@pytest.mark.parametrize("case", ["cross_entropy", "soft_cross_entropy"])
def test_every_row_has_its_own_scale(case):
    """Rows far from each other, whose sums of exponentials differ by the rounding of lse."""
    name, made = CASES[case]
    for n in (2, 10, 50):
        (x, *others), options = made(n)
        x = x + 1000 * (torch.arange(ROWS) % 5 - 2).unsqueeze(1)
        arrays = cast((x, *others), torch.float32)
        place = {"cross_entropy": -1, "soft_cross_entropy": -2}[case]  # of the logits' gradient
        found = both(RULES[name], arrays, options, "cpu", torch.float32)[place]
        wide = cast(arrays, torch.float64)
        want = both(RULES[name], wide, options, "plain", torch.float32)[place]
        bound = 64 * torch.finfo(torch.float32).eps * want.abs().max()
        assert (found.double() - want).abs().max() <= bound
