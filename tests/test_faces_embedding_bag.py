"""torch's bags of embeddings under torch's names."""

import importlib

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch.functional")
nn = importlib.import_module("bpx_torch.nn")

WEIGHT = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
WEIGHT[3] = WEIGHT[2]  # the first of two maxima has the gradient
BAGS = {
    "rows": ([[1, 3, 2], [2, 2, 6], [0, 3, 2]], None),
    "an empty bag": ([1, 2, 3, 2, 2, 6, 5], [0, 2, 2, 6]),
    "only padding in a bag": ([2, 2, 6, 3], [0, 2]),
    "an empty bag at the end": ([2, 3, 6, 3], [0, 2, 4]),
    "no indices": ([], [0, 0]),
    "no bags": ([], []),
}


def run(library, input, offsets, shares=None, **options):
    """y, what max_norm has made of the weight, and the gradients."""
    weight = WEIGHT.clone().requires_grad_()
    shares = None if shares is None else shares.clone().requires_grad_()
    y = library.embedding_bag(input, weight, offsets, per_sample_weights=shares, **options)
    dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
    asked = [a for a in (weight, shares) if a is not None]
    return (y, weight.detach(), *torch.autograd.grad(y, asked, dy))


@pytest.mark.parametrize("bags", BAGS)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_function(mode, bags):
    input, offsets = (None if a is None else torch.tensor(a).long() for a in BAGS[bags])
    shares = [None, torch.rand(input.shape, dtype=torch.float64)][: 2 if mode == "sum" else 1]
    if bags == "no bags":  # torch reads what is not there
        y, _, dweight = run(functional, input, offsets, mode=mode)
        assert y.shape == (0, 3)
        assert not dweight.any()
        return
    for given in shares:
        for options in ({}, {"padding_idx": 2}, {"padding_idx": -1}, {"max_norm": 0.8}):
            results = [run(f, input, offsets, given, mode=mode, **options) for f in (functional, F)]
            torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("last", [4, 3])
def test_the_last_offset_begins_no_bag(last):
    """And ends none: as in torch the last bag goes to the end of the indices."""
    given = torch.tensor([1, 3, 2, 5]), torch.tensor([0, 1, last])
    results = [run(f, *given, include_last_offset=True) for f in (functional, F)]
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_module(mode):
    input, offsets = torch.tensor([1, 3, 2, 5]), torch.tensor([0, 3])
    results, texts = [], []
    for library in (nn, torch.nn):
        torch.manual_seed(3)
        layer = library.EmbeddingBag(7, 3, mode=mode, padding_idx=2, dtype=torch.float64)
        y = layer(input, offsets)
        results.append((y, *torch.autograd.grad(y.sin().sum(), layer.weight)))
        texts.append(repr(layer))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)
    assert texts[0] == texts[1]


def test_a_mean_in_half_precision_is_rounded_once():
    weight = torch.randn(300, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    bags = torch.arange(300).view(100, 3)
    got = functional.embedding_bag(bags, weight)
    assert torch.equal(got, weight.double()[bags].mean(1).bfloat16())


ROWS, FLAT, OFFSETS = torch.tensor([[1, 2]]), torch.tensor([1, 2, 3]), torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ((ROWS,), {"mode": "min"}, "mode is 'min', expected one of ['sum', 'mean', 'max']"),
        ((ROWS,), {"sparse": True}, "sparse is True, expected False"),
        ((ROWS,), {"scale_grad_by_freq": True}, "scale_grad_by_freq is True, expected False"),
        ((ROWS[None],), {}, "input has shape (1, 1, 2), expected (N) or (B L)"),
        ((ROWS, OFFSETS), {}, "offsets are given, but the rows of input are bags"),
        ((FLAT,), {}, "offsets have shape None, expected (B)"),
        ((FLAT, ROWS), {}, "offsets have shape (1, 2), expected (B)"),
        ((FLAT, OFFSETS + 1), {}, "offsets are [1, 3], expected them to begin with 0"),
        ((FLAT, 2 * OFFSETS), {}, "offsets are [0, 4], expected them to begin with 0"),
        ((FLAT, torch.tensor([0, 2, 1])), {}, "offsets are [0, 2, 1], expected them to begin"),
        ((FLAT[:0], OFFSETS[:0]), {"include_last_offset": True}, "offsets are [], expected them"),
        ((ROWS,), {"per_sample_weights": ROWS.double()}, "mode is 'mean', per_sample_weights take"),
        (
            (ROWS,),
            {"per_sample_weights": FLAT.double(), "mode": "sum"},
            "per_sample_weights has shape (3,), expected that of input, (1, 2)",
        ),
    ],
)
def test_refused(given, options, said):
    with pytest.raises(SpecError) as error:
        functional.embedding_bag(given[0], WEIGHT, *given[1:], **options)
    assert f"embedding_bag: {said}" in str(error.value)
