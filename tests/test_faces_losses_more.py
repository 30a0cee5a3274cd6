"""Divergences, likelihoods and margins under torch's names against torch."""

import importlib
import inspect
import itertools

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch._functional_losses_more")
nn = importlib.import_module("bpx_torch._nn_losses_more")

REDUCTIONS = ("mean", "sum", "none")
FUNCTIONS = """kl_div nll_loss poisson_nll_loss gaussian_nll_loss hinge_embedding_loss
    soft_margin_loss margin_ranking_loss multi_margin_loss cosine_embedding_loss
    triplet_margin_loss""".split()
MODULES = """KLDivLoss NLLLoss PoissonNLLLoss GaussianNLLLoss HingeEmbeddingLoss SoftMarginLoss
    MarginRankingLoss MultiMarginLoss CosineEmbeddingLoss TripletMarginLoss""".split()
# torch says that the mean of kl_div will change
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


def parameters(f):
    return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def rand(*shape):
    return torch.rand(shape, dtype=torch.float64)


def signs(*shape):
    return torch.where(randn(*shape) > 0, 1.0, -1.0).double()


def compare(ours, theirs, inputs, *args, **options):
    """Values, and gradients of the inputs with a random cotangent, of two functions."""
    results = []
    for f in (ours, theirs):
        leaves = [a.detach().clone().requires_grad_() for a in inputs]
        y = f(*leaves, *args, **options)
        dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
        results.append((y, *torch.autograd.grad(y, leaves, dy)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def pair(name):
    return getattr(functional, name), getattr(F, name)


def example(name):
    """(arrays with a gradient, further arguments, sets of options)."""
    labels = torch.tensor([4, 1, 0, 3])
    return {
        "kl_div": ((randn(4, 5), rand(4, 5)), (), ({}, {"log_target": True})),
        "nll_loss": ((randn(4, 5),), (labels,), ({}, {"weight": rand(5), "ignore_index": 1})),
        "poisson_nll_loss": (
            (rand(4, 5), 4 * rand(4, 5)),
            (),
            ({}, {"full": True}, {"log_input": False, "eps": 0.1}),
        ),
        "gaussian_nll_loss": (
            (randn(4, 5), randn(4, 5), rand(4, 5)),
            (),
            ({}, {"full": True, "eps": 0.4}),
        ),
        "hinge_embedding_loss": ((2 * rand(4, 5),), (signs(4, 5),), ({}, {"margin": 1.6})),
        "soft_margin_loss": ((randn(4, 5),), (signs(4, 5),), ({},)),
        "margin_ranking_loss": (
            (randn(4, 5), randn(4, 5)),
            (signs(4, 5),),
            ({}, {"margin": 0.6}),
        ),
        "multi_margin_loss": (
            (randn(4, 5),),
            (labels,),
            ({}, {"p": 2, "margin": 0.6, "weight": rand(5)}),
        ),
        "cosine_embedding_loss": (
            (randn(4, 5), randn(4, 5)),
            (signs(4),),
            ({}, {"margin": -0.4}),
        ),
        "triplet_margin_loss": (
            (randn(4, 5), randn(4, 5), randn(4, 5)),
            (),
            ({}, {"swap": True, "margin": 2.5, "eps": 0.1}),
        ),
    }[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_signature(name):
    ours, theirs = pair(name)
    assert parameters(ours) == parameters(theirs)


@pytest.mark.parametrize("name", MODULES)
def test_module_signature(name):
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    assert issubclass(ours, theirs)
    assert parameters(ours) == parameters(theirs)
    assert parameters(ours.forward) == parameters(theirs.forward)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, reduction):
    inputs, rest, sets = example(name)
    for options in sets:
        compare(*pair(name), inputs, *rest, reduction=reduction, **options)


@pytest.mark.parametrize(("name", "function"), list(zip(MODULES, FUNCTIONS, strict=True)))
def test_modules(name, function):
    inputs, rest, sets = example(function)
    for options, reduction in itertools.product(sets, REDUCTIONS):
        ours, theirs = (getattr(m, name)(reduction=reduction, **options) for m in (nn, torch.nn))
        compare(ours, theirs, inputs, *rest)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"gaussian_nll_loss"}))
@pytest.mark.filterwarnings("ignore:size_average and reduce")
def test_deprecated_reductions(name):
    inputs, rest, _ = example(name)
    for size_average, reduce in itertools.product((None, True, False), repeat=2):
        compare(*pair(name), inputs, *rest, size_average=size_average, reduce=reduce)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_unknown_reduction(name):
    inputs, rest, _ = example(name)
    with pytest.raises(SpecError, match="reduction is 'average'"):
        getattr(functional, name)(*inputs, *rest, reduction="average")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mean_over_nothing(name):
    inputs, rest, _ = example(name)
    leaves = [a[:0].requires_grad_() for a in inputs]
    y = getattr(functional, name)(*leaves, *(a[:0] for a in rest))
    assert y == 0
    for g, a in zip(torch.autograd.grad(y, leaves), leaves, strict=True):
        assert g.shape == a.shape


def test_batchmean_and_broadcast():
    for log in (False, True):
        options = {"reduction": "batchmean", "log_target": log}
        compare(*pair("kl_div"), (randn(4, 2, 3), rand(4, 2, 3)), **options)
    compare(*pair("kl_div"), (randn(4, 5), rand(5)), reduction="sum")
    compare(*pair("margin_ranking_loss"), (randn(4, 1), randn(5).reshape(1, 5)), signs(4, 5))
    compare(*pair("triplet_margin_loss"), (randn(4, 5), randn(1, 5), randn(4, 5)))


def test_classes_along_axis_one():
    labels = torch.randint(0, 5, (4, 3))
    labels[1, 2] = -100
    for weight, reduction in itertools.product((None, rand(5)), REDUCTIONS):
        compare(*pair("nll_loss"), (randn(4, 5, 3),), labels, weight, reduction=reduction)
    compare(*pair("nll_loss"), (randn(5),), torch.tensor(2))
    compare(*pair("multi_margin_loss"), (randn(5),), torch.tensor(2))


def test_variances():
    x, target = randn(4, 5), randn(4, 5)
    for var in (rand(4, 1), rand(4), rand(4, 5), rand(4, 5) * torch.tensor([1, 0, 1, 1, 1])):
        compare(*pair("gaussian_nll_loss"), (x, target, var))
    compare(*pair("gaussian_nll_loss"), (x, target), 0.7)
    with pytest.raises(SpecError, match="var has shape"):
        functional.gaussian_nll_loss(x, target, rand(5))
    with pytest.raises(SpecError, match="var holds negatives"):
        functional.gaussian_nll_loss(x, target, -rand(4, 5))
    with pytest.raises(SpecError, match=r"var is -1\.0"):
        functional.gaussian_nll_loss(x, target, -1.0)


def test_other_norms_are_refused():
    with pytest.raises(SpecError, match="p is 1, expected 2"):
        functional.triplet_margin_loss(randn(4, 5), randn(4, 5), randn(4, 5), p=1)


def test_integer_targets():
    target = signs(4, 5).long()
    for name in ("hinge_embedding_loss", "soft_margin_loss"):
        compare(*pair(name), (randn(4, 5),), target)
    compare(*pair("margin_ranking_loss"), (randn(4, 5), randn(4, 5)), target)
    compare(*pair("cosine_embedding_loss"), (randn(4, 5), randn(4, 5)), target[:, 0])


@pytest.mark.parametrize("name", ["nll_loss", "multi_margin_loss"])
def test_label_out_of_range(name):
    f, x = getattr(functional, name), randn(4, 5)
    bad = torch.arange(4) == 1
    for label in (-1, 5, 156):
        target = torch.tensor([1, label, 4, 0])
        with pytest.raises(SpecError, match=f"target holds {label}"):
            f(x, target)
        each = torch.func.vmap(torch.func.grad_and_value(lambda z, t: f(z, t, reduction="sum")))
        g, y = each(x, target)
        assert (y.isnan() == bad).all()
        assert (g.isnan() == bad[:, None]).all()
