"""nll_loss of images whose classes lie before the places: the native kernel reads them as they lie,
and where a call knows how x lay, by what is remembered of its shape, the gradient lies so too."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from bpx import native, rule
from bpx_torch import RULES
from bpx_torch._given import shaped, unseen

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

RULE = RULES["nll_loss"]
# (images, classes, places): chunks that end within an image, odd ends, axes and classes of one
SHAPES = (
    (2, 10, 137),
    (3, 21, 90, 50),
    (1, 5, 7, 1),
    (4, 3, 1, 6),
    (2, 1, 5),
    (2, 4, 1),
    (6, 7, 2, 3),
)
TYPES = torch.float64, torch.float32, torch.bfloat16
OPTIONS = {"mean": {}, "sum": {"reduction": "sum"}, "none": {"reduction": "none"}}


def given(shape, dtype, weighted, labels=torch.int64):
    draw = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=draw)
    target.view(-1)[:: max(3, target.numel() // 5)] = -100
    weight = 0.5 + torch.rand(shape[1], generator=draw, dtype=torch.float64).to(dtype)
    return x, target.to(labels), weight if weighted else None


def run(x, target, weight, options):
    """y, the gradient of x as it was handed over, classes last, and the gradients together."""
    x = x.detach().movedim(1, -1).requires_grad_()
    weight = None if weight is None else weight.clone().requires_grad_()
    y = RULE(x, target, weight, **options)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    asked = [x] if weight is None else [x, weight]
    dy = dy.to(y.dtype)
    alone = torch.autograd.grad(y, x, dy, retain_graph=True)
    return y.detach(), *alone, *torch.autograd.grad(y, asked, dy)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_values_of_rows(shape, case, dtype):
    for weighted, labels in itertools.product((False, True), (torch.int64, torch.int32)):
        x, target, weight = given(shape, dtype, weighted, labels)
        with rule.use("plain"):
            wide = None if weight is None else weight.double()
            want = run(x.double(), target, wide, OPTIONS[case])
        for _ in range(4):  # a call that comes again is a node of torch's graph
            got = run(x, target, weight, OPTIONS[case])
            assert got[1].movedim(-1, 1).is_contiguous()
            for g, w in zip(got, want, strict=True):
                bound = 8 * torch.finfo(dtype).eps * (1 + w.abs().max())
                assert (g.double() - w).abs().max() <= bound


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_label_that_is_no_class_stays_at_its_place(reduction):
    kernel = RULE.kernels[0].loaded()
    x, target, _ = given((2, 5, 40), torch.float64, False)
    target[1, 7] = 9
    moved = x.movedim(1, -1)
    options = {"ignore_index": -100, "reduction": reduction}
    y, residuals = kernel.forward(moved, target, None, **options)
    needs = True, False, False
    dx, *_ = kernel.backward(
        torch.ones_like(y), (unseen(shaped(moved)), target, None), residuals, needs, **options
    )
    assert dx.stride() == moved.stride()
    bad = torch.zeros(2, 40, dtype=torch.bool)
    bad[1, 7] = True
    assert torch.equal(dx.isnan().all(-1), bad)
    if reduction == "mean":  # which is NaN, so that every label's gradient is
        assert y.isnan()
        assert torch.equal(dx.isnan().any(-1), target != -100)
    else:
        assert torch.equal(y.isnan(), bad)
        assert torch.equal(dx.isnan().any(-1), bad)


def test_images_that_lie_otherwise():
    """Turned, with gaps, with a pending sign, without memory: values as of a copy."""
    x, target, weight = given((3, 4, 6, 5), torch.float64, True)
    wide, _, _ = given((3, 4, 6, 10), torch.float64, False)
    for other in (
        x.transpose(2, 3).contiguous().transpose(2, 3),
        wide[..., ::2],
        torch._neg_view(x),
        torch._efficientzerotensor(x.shape, dtype=x.dtype),
        x.contiguous(memory_format=torch.channels_last),
    ):
        with rule.use("plain"):
            want = run(other.clone(), target, weight, {})
        for _ in range(4):
            for g, w in zip(run(other, target, weight, {}), want, strict=True):
                torch.testing.assert_close(g, w, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("array", "step"),
    [
        (torch.empty(2, 3, 4), (0, 0, 0)),
        (torch.empty(2, 4, 3).mT, (0, 1, 0)),
        (torch.empty(2, 1, 3).mT, (0, 1, 0)),
        (torch.empty(1, 5, 4, 2).movedim(1, -1), (0, 0, 1, 0)),
        (torch.empty(3, 4)[:, ::2], (0, 0)),
        (torch.empty(2).expand(3, 2), (0, 0)),
    ],
)
def test_what_stands_in_for_an_argument(array, step):
    """Has its shape, no number, and the axis along which its elements lie."""
    found = unseen(shaped(array))
    assert (found.shape, found.dtype, found.stride()) == (array.shape, array.dtype, step)
    assert found.isnan().all()
