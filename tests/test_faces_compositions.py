"""torch.nn.functional's functions and modules that are compositions of rules, against torch's."""

import importlib
import inspect
import itertools

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch.functional")
nn = importlib.import_module("bpx_torch.nn")


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def labels(*shape):
    return torch.randint(2, shape)


def distance(a, b):
    return (a - b).abs().pow(1.5).sum(-1)


CASES = [
    ("rrelu", lambda: (randn(4, 3),), {"lower": 0.1, "upper": 0.3}),
    ("conv_tbc", lambda: (randn(7, 2, 3), randn(3, 3, 5), randn(5)), {}),
    ("conv_tbc", lambda: (randn(7, 2, 3), randn(2, 3, 5), randn(5)), {"pad": 2}),
    *[
        (
            "multilabel_soft_margin_loss",
            lambda: (randn(4, 3), labels(4, 3), randn(3)),
            {"reduction": r},
        )
        for r in ("none", "sum", "mean")
    ],
    ("multilabel_soft_margin_loss", lambda: (randn(3), labels(3).double()), {"reduction": "none"}),
    *[
        (
            "triplet_margin_with_distance_loss",
            lambda: (randn(4, 3), randn(4, 3), randn(4, 3)),
            {"distance_function": f, "swap": swap, "margin": 0.7, "reduction": r},
        )
        for f in (None, distance)
        for swap, r in ((False, "mean"), (True, "none"), (True, "sum"))
    ],
    *[
        ("gumbel_softmax", lambda: (randn(2, 3, 5),), {"tau": 0.7, "hard": hard, "dim": 1})
        for hard in (False, True)
    ],
]


def results(f, arrays, options):
    torch.manual_seed(3)
    given = [a.detach().requires_grad_(a.is_floating_point()) for a in arrays]
    y = f(*given, **options)
    asked = [a for a in given if a.requires_grad]
    dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
    return (y, *torch.autograd.grad(y, asked, dy))


@pytest.mark.parametrize(
    ("name", "arrays", "options"),
    CASES,
    ids=[f"{name} {i}" for i, (name, *_) in enumerate(CASES)],
)
def test_function(name, arrays, options):
    ours, theirs = getattr(functional, name), getattr(F, name)
    arrays = arrays()
    if name == "multilabel_soft_margin_loss" and len(arrays) == 3:
        arrays, options = arrays[:2], {**options, "weight": arrays[2]}
    found, want = (results(f, arrays, options) for f in (ours, theirs))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
    if name != "conv_tbc":
        names = [inspect.signature(f).parameters for f in (ours, theirs)]
        assert [(p.name, p.default, p.kind) for p in names[0].values()] == [
            (p.name, p.default, p.kind) for p in names[1].values()
        ]


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout(name):
    """torch's own values for what is kept and what is dropped, at its rate; other elements."""
    ours, theirs = getattr(functional, name), getattr(F, name)
    x, p = randn(40, 30, 20), 0.3
    seen = []
    for f in (ours, theirs):
        given = x.clone().requires_grad_()
        y = f(given, p, True)
        (dx,) = torch.autograd.grad(y.sum(), given)
        kept = dx != 0
        seen.append((kept, y[kept] - dx[kept] * x[kept], dx[kept], y[~kept]))
    (kept, *found), (other, *want) = seen
    for got, right in zip(found, want, strict=True):
        torch.testing.assert_close(got, right[0].expand_as(got), rtol=1e-9, atol=1e-12)
    count = kept[:, :, :1].numel() if name.startswith("feature") else kept.numel()
    assert abs(kept.double().mean() - 0.7) <= 5 * (0.21 / count) ** 0.5  # five deviations
    assert not torch.equal(kept, other)
    if name.startswith("feature"):
        assert (kept == kept[:, :, :1]).all()
        assert not (kept == kept[:, :1]).all()
    torch.manual_seed(5)
    once = ours(x, p, True)
    torch.manual_seed(5)
    assert torch.equal(ours(x, p, True), once)
    assert ours(x, p) is x
    assert not ours(x, 1.0, True).any()


def test_rrelu():
    """A slope for each element that is not positive, of torch's law; from the generator's state."""
    x = randn(50, 40, 30)
    x[0] = 0.0
    given = x.clone().requires_grad_()
    y = functional.rrelu(given, 0.1, 0.4, True)
    (dx,) = torch.autograd.grad(y.sum(), given)
    torch.testing.assert_close(y, dx * x, rtol=1e-15, atol=0)
    assert (dx[x > 0] == 1).all()
    slopes = dx[x <= 0]  # at 0 too, as in torch
    assert ((slopes >= 0.1) & (slopes <= 0.4)).all()
    five = 5 * 0.3 / 12**0.5 / len(slopes) ** 0.5  # deviations of the mean of so many
    assert abs(slopes.mean() - 0.25) < five
    assert abs(slopes.var() - 0.3**2 / 12) < 0.3 * five
    torch.manual_seed(5)
    once = functional.rrelu(x, training=True)
    torch.manual_seed(5)
    assert torch.equal(functional.rrelu(x, training=True), once)
    for shape in ((), (0, 3)):
        assert functional.rrelu(randn(*shape), training=True).shape == shape


def test_refusals():
    with pytest.raises(SpecError, match=r"rrelu: lower is 0.5, expected at most upper, 0.2"):
        functional.rrelu(randn(3), 0.5, 0.2)
    with pytest.raises(SpecError, match=r"feature_alpha_dropout: input has shape \(3,\), expected"):
        functional.feature_alpha_dropout(randn(3), 0.5, True)
    with pytest.raises(SpecError, match="alpha_dropout: p is 2, expected 0 <= p <= 1"):
        functional.alpha_dropout(randn(3), 2, True)
    with pytest.raises(SpecError, match=r"softmax2d: input has shape \(2, 3\), expected"):
        nn.Softmax2d()(randn(2, 3))


def test_adaptive_log_softmax():
    """Targets in all clusters, in some and in none; one alone; all probabilities."""
    for bias, target in itertools.product(
        (False, True), ([0, 1, 3, 7, 19, 8, 2, 19], [0, 1], [12, 12], 15, [])
    ):
        target, results = torch.tensor(target, dtype=torch.int64), []
        x = randn(*target.shape, 16).requires_grad_()
        for library in (nn, torch.nn):
            torch.manual_seed(3)
            layer = library.AdaptiveLogSoftmaxWithLoss(16, 20, [3, 8], 2.0, bias).double()
            found = layer(x, target)
            weights = [x, *layer.parameters()]
            whole = layer.log_prob(x.view(-1, 16))
            ends = (found.output.sin().sum() + 2 * found.loss, whole.sin().sum())
            grads = [torch.autograd.grad(e, weights, materialize_grads=True) for e in ends]
            results.append((*found, whole, layer.predict(x.view(-1, 16)), *grads))
        torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13, equal_nan=True)


def test_adaptive_log_softmax_refuses():
    layer = nn.AdaptiveLogSoftmaxWithLoss(4, 9, [2, 5], 2.0)
    with pytest.raises(SpecError, match=r"target holds classes outside 0 \.\. 8"):
        layer(torch.zeros(2, 4), torch.tensor([1, 9]))
    for x, target in ((4,), (1,)), ((3, 4), (2,)), ((2, 2, 4), (2, 2)):
        with pytest.raises(SpecError, match=r"expected \(N I\) and \(N\), or \(I\) and \(\)"):
            layer(torch.zeros(x), torch.zeros(target, dtype=torch.int64))


@pytest.mark.parametrize("ends", [(), (0, 1), (-2, -1), (2, 2)])
def test_flatten(ends):
    ours, theirs = (library.Flatten(*ends) for library in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    x = randn(2, 3, 4, 5).requires_grad_()
    found, want = ([y, *torch.autograd.grad(y.sin().sum(), x)] for y in (ours(x), theirs(x)))
    assert all(map(torch.equal, found, want))
    assert "flatten" in ours(x).grad_fn.name()
    whole = torch.arange(6).view(1, 2, 3, 1)  # no gradient: torch's own
    assert torch.equal(ours(whole), theirs(whole))


MODULES = [
    ("RReLU", {"lower": 0.3, "upper": 0.3}, lambda: (randn(4, 3),)),
    ("MultiLabelSoftMarginLoss", {"weight": randn(3).abs()}, lambda: (randn(4, 3), labels(4, 3))),
    ("TripletMarginWithDistanceLoss", {"swap": True}, lambda: [randn(4, 3) for _ in range(3)]),
    (
        "TripletMarginWithDistanceLoss",
        {"distance_function": distance, "margin": 0.3, "reduction": "sum"},
        lambda: [randn(4, 3) for _ in range(3)],
    ),
]


@pytest.mark.parametrize(("name", "options", "arrays"), MODULES, ids=[m[0] for m in MODULES])
def test_module(name, options, arrays):
    ours, theirs = (getattr(library, name)(**options) for library in (nn, torch.nn))
    assert isinstance(ours, type(theirs))
    assert repr(ours) == repr(theirs)
    arrays = arrays()
    torch.testing.assert_close(results(ours, arrays, {}), results(theirs, arrays, {}))


@pytest.mark.parametrize("name", ["AlphaDropout", "FeatureAlphaDropout"])
def test_dropout_module(name):
    layer = getattr(nn, name)(0.4)
    assert repr(layer) == repr(getattr(torch.nn, name)(0.4))
    x = randn(5, 4, 3)
    assert layer.eval()(x) is x
    y = layer.train()(x)
    assert (y == y.flatten().mode().values).sum() > 5  # what is dropped has one value
