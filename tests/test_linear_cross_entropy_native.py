"""linear_cross_entropy by the native core, its gradients in forward and in backward, beside the
plain rule."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx.rule import use
from bpx_torch import _node
from bpx_torch.fused.linear_cross_entropy import RULE, linear_cross_entropy
from bpx_torch.kernels import _kept
from bpx_torch.kernels.cpu import linear_cross_entropy as kernel
from tests.linear_cross_entropy_runs import OPTIONS
from tests.observed import answers

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

NAMES = ("x", "weight", "bias", "class_weight")


@pytest.fixture
def early(monkeypatch):
    """Whether the calls took gradients in forward."""
    return answers(monkeypatch, kernel, "worth")


@pytest.fixture(params=[1, 4, 256], ids="blocks of {}".format)
def blocks(monkeypatch, request):
    """Rows one by one, in blocks of 4 of which the last has fewer, and all at once."""
    monkeypatch.setattr(kernel, "ROWS", request.param)


def arrays(rows=(3, 7), features=5, classes=31, asked=NAMES):
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
def test_the_plain_rules_gradients(options, early, blocks):
    subsets = [NAMES, *itertools.combinations(NAMES, 1), ("x", "bias")]
    for asked in subsets:
        found, target = arrays(asked=asked)
        same(*(run(name, found, target, options) for name in ("cpu", "plain")))
    assert set(early) == {options.get("reduction") != "none"}
    found, target = arrays(asked=("x", "weight"))
    found |= {"bias": None, "class_weight": None}
    same(*(run(name, found, target, options) for name in ("cpu", "plain")))


def test_what_an_ignored_row_holds(early, blocks):
    found, target = arrays()
    target[1, 2] = -100
    with torch.no_grad():
        found["x"][1, 2] = torch.nan
    y, grads, *_ = run("cpu", found, target, {})
    same((y, grads), run("plain", found, target, {}))
    assert all(a.isfinite().all() for a in (y, *grads))
    assert set(early) == {True}


@pytest.mark.parametrize("nothing", ["labels", "weights"])
def test_a_mean_over_nothing(nothing, early, blocks):
    found, target = arrays()
    if nothing == "labels":
        target.fill_(-100)
    else:
        with torch.no_grad():
            found["class_weight"].fill_(0)
    for rows in (found, {**found, "x": found["x"][:, :1]}):  # gradients in forward, in backward
        y, grads, *_ = run("cpu", rows, target[:, : rows["x"].shape[1]], {})
        assert y == 0
        same((y, grads), run("plain", rows, target[:, : rows["x"].shape[1]], {}))
    assert set(early) == {True, False}


def test_a_vocabulary_of_many_columns(blocks):
    given = arrays(rows=(7,), classes=1100)
    same(*(run(name, *given, {"label_smoothing": 0.1}) for name in ("cpu", "plain")))


def test_a_row_that_is_nearly_certain_keeps_its_digits(early):
    found, target = arrays(asked=("x", "weight"))
    with torch.no_grad():
        found["bias"].fill_(0)[4] = 1e4  # lse is rounded by 1e-12, the others have e^-14
        found["bias"][5] = 1e4 - 14
    target.fill_(4)
    same(*(run(name, found, target, {}) for name in ("cpu", "plain")))
    assert set(early) == {True}


def test_residuals_and_a_vocabulary_that_is_masked(blocks):
    found, target = arrays(asked=())
    for masked in ((), slice(3, 6), slice(None)):
        found["bias"][masked] = -torch.inf
        given = found["x"], found["weight"], target, *bias(found)
        ours, want = kernel.forward(*given, **RULE.spec.options), RULE.forward(*given)
        torch.testing.assert_close(ours, want, rtol=1e-11, atol=1e-12, equal_nan=True)
    assert (ours[1][1] == -torch.inf).all()


@pytest.mark.parametrize("large", [1, 1 << 18])
def test_again_and_the_second_derivative(large, early, blocks, monkeypatch):
    monkeypatch.setattr(_kept, "LARGE", large)
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
    assert set(early) == {False}


@pytest.mark.parametrize(("features", "is_node"), [(9, True), (5, False)])
@pytest.mark.skipif(_node.build() is not None, reason=str(_node.available()))
def test_what_is_a_node(features, is_node):
    """Recorded steps have no room for gradients in forward."""
    for _ in range(3):
        y, *_ = run("cpu", *arrays(features=features), {})
        assert isinstance(y.grad_fn, torch.autograd.function.BackwardCFunction) != is_node


@pytest.mark.parametrize("dy", [1.0, -0.3])
def test_a_graph_that_is_freed(dy, early, monkeypatch):
    """The gradients that forward took are used up, and reach a leaf as they are."""
    monkeypatch.setattr(_kept, "LARGE", 1)
    found = []
    for name in ("cpu", "plain"):
        given, target = arrays()
        with use(name):
            y = linear_cross_entropy(given["x"], given["weight"], target, *bias(given))
        y.backward(torch.tensor(dy, dtype=y.dtype))
        found.append([a.grad for a in given.values()])
        with pytest.raises(RuntimeError, match="a second time"):
            y.backward()
    assert set(early) == {True}
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-12)


def test_batched_gradients(early, monkeypatch):
    monkeypatch.setattr(_kept, "LARGE", 1)
    dys = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
    found = []
    for name in ("cpu", "plain"):
        y, _, asked, _ = run(name, *arrays(), {"z_loss": 0.1})
        found.append(torch.autograd.grad(y, asked, dys, is_grads_batched=True))
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-12)
    assert set(early) == {True}


@pytest.mark.parametrize(
    ("rows", "features", "chunk", "largest"),
    [(600, 8, 1000, 30), (600, 40, 1000, 40), (600, 8, 20_000, 200), (7, 300, 4000, 7)],
)
def test_how_many_rows_a_block_has(rows, features, chunk, largest):
    """As many as rows x chunk or weight have room for, 256 at most, and all of them alike."""
    x, weight = torch.zeros(rows, features), torch.zeros(20_000, features)
    target = torch.zeros(rows, dtype=torch.int64)
    options = {**RULE.spec.options, "chunk": chunk}
    blocks = kernel.Call(x, weight, target, None, None, options).blocks()
    assert [i for first, some in blocks for i in range(first, first + some)] == list(range(rows))
    assert max(some for _, some in blocks) == largest


def test_what_it_refuses():
    found, target = arrays()
    x, weight, *rest = found.values()
    said = "it takes float32 or float64, one for all"
    assert kernel.refuses((x, weight.float(), target, *rest), {}) == said
    assert kernel.refuses((x.bfloat16(), weight.bfloat16(), target, None, None), {}) == said
    assert kernel.refuses((x, weight, target, *rest), {}) is None
