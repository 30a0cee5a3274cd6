"""What recorded calls are given: indices are held against their bounds without Python, small arrays
with gaps lose them."""

import pytest

torch = pytest.importorskip("torch")

from bpx.spec import SpecError
from bpx_torch import RULES, _given, _node

pytestmark = pytest.mark.skipif(_node.build() is not None, reason=str(_node.available()))
FUNCTION = torch.autograd.function.BackwardCFunction


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(rows, classes):
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("rows", [7, _given.SMALL + 3])
def test_indices_out_of_bounds_raise_in_a_recorded_call(dtype, rows):
    rule, x = RULES["cross_entropy"], draw(rows, 5)
    target = labels(rows, 5).to(dtype)
    for _ in range(5):
        y = rule(x.clone().requires_grad_(), target, None)
    assert not isinstance(y.grad_fn, FUNCTION), "nothing was recorded"
    want = torch.nn.functional.cross_entropy(x, target.long())
    torch.testing.assert_close(y.detach(), want, rtol=1e-5, atol=0)
    for place in (0, rows - 1):
        for wrong in (5, 200) if dtype == torch.uint8 else (5, -1):
            spoiled = target.clone()
            spoiled[place] = wrong
            with pytest.raises(SpecError, match=f"target holds {wrong}, expected 0 <= target < 5"):
                rule(x, spoiled, None)


def test_the_ignored_label_is_none_that_is_out_of_bounds():
    rule, x, target = RULES["cross_entropy"], draw(9, 5), labels(9, 5)
    for ignored in (-100, 7):
        for _ in range(5):
            rule(x, target, None, ignore_index=ignored)
        some = target.clone()
        some[[0, 8]] = ignored
        y = rule(x, some, None, ignore_index=ignored)
        want = torch.nn.functional.cross_entropy(x[1:8], target[1:8])
        torch.testing.assert_close(y, want, rtol=1e-5, atol=0)
        some[4] = -100 + 7 - ignored  # what the other call ignores
        with pytest.raises(SpecError, match="target holds"):
            rule(x, some, None, ignore_index=ignored)


def test_rows_of_an_embedding_are_held_against_its_height():
    rule, table, places = RULES["embedding"], draw(6, 3), labels(11, 6)
    for _ in range(5):
        y = rule(places, table.clone().requires_grad_())
    assert not isinstance(y.grad_fn, FUNCTION), "nothing was recorded"
    with pytest.raises(SpecError, match="holds 6, expected"):
        rule(places + (places == places.max()) * (6 - places.max()), table)


def gated():
    wide = draw(6, 10)
    return (wide[:, :5], wide[:, 5:]), {}


def channels_first():
    x = draw(2, 5, 3, 4).movedim(1, -1)
    target = labels(24, 5).reshape(2, 3, 4)
    return (x, target, None), {"reduction": "none"}


def soft():
    x, target = draw(2, 5, 3).mT, draw(2, 5, 3, seed=1).mT.softmax(-1)
    return (x, target, None), {"reduction": "none"}


def turned(**options):
    return (draw(5, 7, 3).permute(2, 0, 1),), options


GAPS = {
    **dict.fromkeys(("glu", "swiglu", "geglu", "reglu"), gated),
    "cross_entropy": channels_first,
    "nll_loss": channels_first,
    "soft_cross_entropy": soft,
    "softmax": lambda: turned(dim=-1),
    "log_softmax": lambda: turned(dim=0),
}


def test_every_rule_that_loses_gaps_has_a_case():
    assert set(GAPS) == _given.PACKED


@pytest.mark.parametrize("name", sorted(GAPS))
def test_small_arrays_with_gaps_are_recorded_and_keep_layouts(name):
    """The same bits and strides of y and the gradients before a call is recorded and after it."""
    arrays, options = GAPS[name]()
    assert not all(a is None or a.is_contiguous() for a in arrays)
    rule, found = RULES[name], []
    for _ in range(6):
        given = [
            a.detach().requires_grad_() if a is not None and a.is_floating_point() else a
            for a in arrays
        ]
        y = rule(*given, **options)
        y.backward(draw(*y.shape, seed=3))
        grads = [a.grad for a in given if a is not None and a.grad is not None]
        found.append((y, *grads))
    assert not isinstance(y.grad_fn, FUNCTION), "nothing was recorded"
    for one, *others in zip(*found, strict=True):
        for other in others:
            assert torch.equal(one, other)
            assert one.stride() == other.stride()


def test_large_arrays_with_gaps_are_not_copied_first():
    x = draw(130, _given.SMALL // 400)
    arrays = (x[:, ::2], x[:, 1::2])
    assert _given.packed("glu", arrays) is arrays
    small = (x[:5, ::2], x[:5, 1::2])
    assert all(a.is_contiguous() for a in _given.packed("glu", small))
    assert _given.packed("attention", small) is small


def test_which_arrays_share_no_place():
    x = draw(4, 6)
    for a in (x, x.t(), x[::2, 1:4], x[:1].expand(1, 6), x[:, :1].t(), None):
        assert _given.apart(a)
    for a in (x[:1].expand(3, 6), x[:, :1].expand(4, 2), x.as_strided((3, 3), (1, 1))):
        assert not _given.apart(a)
    assert not _given.apart(x.as_strided((2, 3), (2, 1)))
    assert _given.apart(x.as_strided((2, 3), (3, 1)))


def test_an_extent_has_the_gaps():
    x = draw(4, 6)
    assert _given.extent(x) == x.nbytes == _given.extent(x.t())
    assert _given.extent(x[::3, 1:3]) == 20 * x.element_size()
    assert _given.extent(x[:, :0]) == 0
