"""Cross-entropy of logits whose classes lie before the places, as an image's do: the native kernel
takes places side by side, reads the logits as they lie and gives their gradient so."""

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx_torch import RULES
from bpx_torch import functional as F
from tests.test_native_short_rows import TYPES, both, cast, draw

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

PLACES = 2 * 64 + 9  # full blocks of lanes and one that is not, for each of two images
LENGTHS = (1, 2, 3, 10, 21, 63, 64, 65, 150)
RULE = RULES["cross_entropy"]
WEIGHTED = ("sum", "ignored", "ignored, smoothed")
OPTIONS = {
    "mean": {},
    "sum": {"reduction": "sum", "label_smoothing": 0.3},
    "none": {"reduction": "none", "label_smoothing": 0.1},
    "ignored": {"ignore_index": -100},
    "ignored, smoothed": {"ignore_index": -100, "label_smoothing": 0.2},
    "ignored, none": {"ignore_index": -100, "reduction": "none"},
}


def classes_first(x):
    """The same values (N P V) with the classes before the places in memory."""
    return x.movedim(-1, 1).contiguous().movedim(1, -1)


def given(n, options, weighted):
    x = 3 * draw(2, PLACES, n)
    target = torch.randint(n, (2, PLACES), generator=torch.Generator().manual_seed(n))
    if "ignore_index" in options:  # in a full block, on its edges and in the last one
        target[0, [0, 63, 64, 70, PLACES - 1]] = target[1, 5] = -100
    return x, target, 0.5 + draw(n, seed=2).abs() if weighted else None


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("case", OPTIONS)
def test_the_values_of_rows(case, dtype):
    for n in LENGTHS:
        x, target, weight = cast(given(n, OPTIONS[case], case in WEIGHTED), dtype)
        turned = classes_first(x)
        found = both(RULE, (turned, target, weight), OPTIONS[case], "cpu", dtype)
        wide = cast((x, target, weight), torch.float64)
        wanted = both(RULE, wide, OPTIONS[case], "plain", dtype)
        assert found[2].stride() == turned.stride()
        for at, (got, w) in enumerate(zip(found, wanted, strict=True)):
            bound = 64 * torch.finfo(got.dtype).eps * (w.abs().max() + 1)
            error = (got.double() - w).abs().max()
            assert error <= bound, f"{n} classes, output {at}: off by {error}, bound {bound}"


@pytest.mark.parametrize("n", [10, 70])
def test_a_place_touches_no_other(n):
    """A NaN, infinities, a place of -inf alone and labels that are no class stay at their place."""
    (x, target, _), options = given(n, {}, False), {"reduction": "none", "ignore_index": -100}
    spoiled, other = x.clone(), target.clone()
    spoiled[0, 3, 4], spoiled[0, 65, 2:], spoiled[1, 9] = torch.nan, -torch.inf, -torch.inf
    other[1, 64], other[1, 65], other[0, 8] = n, -1, -100
    spoiled[0, 8] = torch.nan  # of a label that is ignored
    touched = torch.zeros(2, PLACES, dtype=torch.bool)
    touched[0, [3, 8, 65]] = touched[1, [9, 64, 65]] = True
    clean = both(RULE, (classes_first(x), target, None), options, "cpu", torch.float64)
    dirty = both(RULE, (classes_first(spoiled), other, None), options, "cpu", torch.float64)
    plain = both(RULE, (spoiled, other, None), options, "plain", torch.float64)
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a[~touched], b[~touched])
    for at in (0, 2):  # y and the gradient of the logits
        assert torch.equal(dirty[at].isnan(), plain[at].isnan())
    assert not dirty[2][0, 8].any()


def test_every_place_has_its_own_scale():
    """Places far from each other, whose sums of exponentials differ by the rounding of lse."""
    for n in (2, 10, 90):
        x, target, _ = given(n, {}, False)
        x = (x + 1000 * (torch.arange(PLACES) % 5 - 2).unsqueeze(1)).float()
        found = both(RULE, (classes_first(x), target, None), {}, "cpu", torch.float32)[2]
        want = both(RULE, (x.double(), target, None), {}, "plain", torch.float32)[2]
        bound = 64 * torch.finfo(torch.float32).eps * want.abs().max()
        assert (found.double() - want).abs().max() <= bound


def test_a_weight_has_its_gradient_where_labels_are_no_class():
    x, target, weight = given(5, {}, True)
    target[1, 64] = 5
    for turned in (x, classes_first(x)):
        *_, dweight = both(RULE, (turned, target, weight), {}, "cpu", torch.float64)
        assert dweight.isnan().any()


@pytest.mark.parametrize(
    "shape", [(2, 5, 3, 4), (3, 4, 7), (1, 1, 6), (2, 6, 1, 1), (2, 3, 2, 3, 2)]
)
def test_the_face_gives_gradients_without_turned_axes(shape):
    x = draw(*shape).requires_grad_()
    target = torch.randint(shape[1], (shape[0], *shape[2:]))
    (found,) = torch.autograd.grad(F.cross_entropy(x, target), x)
    (want,) = torch.autograd.grad(torch.nn.functional.cross_entropy(x, target), x)
    torch.testing.assert_close(found, want)
    assert found.is_contiguous()


def test_a_pending_sign_is_no_part_of_the_memory():
    x, target, _ = given(10, {}, False)
    negative = torch._neg_view(classes_first(x))
    assert negative.is_neg()
    assert negative.movedim(-1, 1).is_contiguous()
    found = both(RULE, (negative, target, None), {}, "cpu", torch.float64)
    for got, want in zip(
        found, both(RULE, (-x, target, None), {}, "cpu", torch.float64), strict=True
    ):
        torch.testing.assert_close(got, want)
