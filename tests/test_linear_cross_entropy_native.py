"""linear_cross_entropy by the native core, its gradients in forward and in backward, beside the
plain rule."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx.rule import use
from bpx_torch.fused.linear_cross_entropy import linear_cross_entropy
from bpx_torch.kernels.cpu import linear_cross_entropy as kernel
from tests.observed import answers

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

OPTIONS = (
    {},
    {"reduction": "sum", "label_smoothing": 0.2, "ignore_index": None},
    {"reduction": "none", "label_smoothing": 0.1},
    {"ignore_index": 3},
)
NAMES = ("x", "weight", "bias", "class_weight")


@pytest.fixture
def early(monkeypatch):
    """Whether the calls took gradients in forward."""
    return answers(monkeypatch, kernel, "worth")


def arrays(rows=(3, 7), features=5, classes=11, asked=NAMES):
    generator = torch.Generator().manual_seed(classes)
    shapes = {
        "x": (*rows, features),
        "weight": (classes, features),
        "bias": (classes,),
        "class_weight": (classes,),
    }
    found = {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    found["class_weight"] = found["class_weight"].abs() + 0.1
    found = {n: a.requires_grad_(n in asked) for n, a in found.items()}
    return found, torch.randint(classes, rows, generator=generator)


def run(name, found, target, options):
    """y, and its gradients for a dy that is not 1."""
    with use(name):
        y = linear_cross_entropy(found["x"], found["weight"], target, *bias(found), **options)
    dy = torch.linspace(-1.5, 2, y.numel(), dtype=y.dtype).reshape(y.shape) + 0.25
    asked = [a for a in found.values() if a is not None and a.requires_grad]
    return y, torch.autograd.grad(y, asked, dy, retain_graph=True), asked, dy


def bias(found):
    return found["bias"], found["class_weight"]


def same(found, want):
    torch.testing.assert_close(found[:2], want[:2], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_plain_rules_gradients(options, early):
    subsets = [NAMES, *itertools.combinations(NAMES, 1), ("x", "bias")]
    for asked in subsets:
        found, target = arrays(asked=asked)
        same(*(run(name, found, target, options) for name in ("cpu", "plain")))
    assert set(early) == {options.get("reduction") != "none"}
    found, target = arrays(asked=("x", "weight"))
    found |= {"bias": None, "class_weight": None}
    same(*(run(name, found, target, options) for name in ("cpu", "plain")))


def test_what_an_ignored_row_holds(early):
    found, target = arrays()
    target[1, 2] = -100
    with torch.no_grad():
        found["x"][1, 2] = torch.nan
    y, grads, *_ = run("cpu", found, target, {})
    same((y, grads), run("plain", found, target, {}))
    assert all(a.isfinite().all() for a in (y, *grads))
    assert early == [True]


def test_a_row_that_is_nearly_certain_keeps_its_digits(early):
    found, target = arrays(asked=("x", "weight"))
    with torch.no_grad():
        found["bias"].fill_(0)[4] = 1e4  # lse is rounded by 1e-12, the others have e^-14
        found["bias"][5] = 1e4 - 14
    target.fill_(4)
    same(*(run(name, found, target, {}) for name in ("cpu", "plain")))
    assert early == [True]


def test_again_and_the_second_derivative(early):
    found, target = arrays()
    y, first, asked, dy = run("cpu", found, target, {})
    for a, b in zip(first, torch.autograd.grad(y, asked, dy), strict=True):
        assert torch.equal(a, b)

    def second(name):
        y, *_ = run(name, found, target, {})
        grads = torch.autograd.grad(y, asked, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), asked)

    torch.testing.assert_close(second("cpu"), second("plain"), rtol=1e-11, atol=1e-12)
    assert all(early)


def test_few_rows_are_computed_again(early):
    found, target = arrays(rows=(2,), features=9)
    same(*(run(name, found, target, {}) for name in ("cpu", "plain")))
    assert early == [False]


@pytest.mark.parametrize(
    "options", [{"chunk": 5}, {"softcap": 2.0}, {"z_loss": 0.3}, {"num_items": 4}], ids=str
)
def test_the_rest_is_the_plain_rules(options, early):
    found, target = arrays()
    ours, want = (run(name, found, target, options) for name in ("cpu", "plain"))
    for a, b in zip((ours[0], *ours[1]), (want[0], *want[1]), strict=True):
        assert torch.equal(a, b)
    assert early == []


def test_what_it_refuses():
    found, target = arrays()
    x, weight, *rest = found.values()
    said = "it takes float32 or float64, one for all"
    assert kernel.refuses((x, weight.float(), target, *rest), {}) == said
    assert kernel.refuses((x.bfloat16(), weight.bfloat16(), target, None, None), {}) == said
    assert kernel.refuses((x, weight, target, *rest), {}) is None
