"""The losses under torch's and optax's names against the libraries they stand in for."""

import importlib
import inspect
import itertools

import numpy as np
import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch._functional_losses")
nn = importlib.import_module("bpx_torch._nn_losses")

REDUCTIONS = ("mean", "sum", "none")
FUNCTIONS = """mse_loss l1_loss huber_loss smooth_l1_loss binary_cross_entropy
    binary_cross_entropy_with_logits cross_entropy""".split()
MODULES = """MSELoss L1Loss HuberLoss SmoothL1Loss BCELoss BCEWithLogitsLoss
    CrossEntropyLoss""".split()


def parameters(f):
    return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def rand(*shape):
    return torch.rand(shape, dtype=torch.float64)


def compare(ours, theirs, inputs, *args, **options):
    """Values, and gradients with a random cotangent, of two functions."""
    results = []
    for f in (ours, theirs):
        leaves = [a.detach().clone().requires_grad_() for a in inputs]
        y = f(*leaves, *args, **options)
        dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
        results.append((y, *torch.autograd.grad(y, leaves, dy)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_signature(name):
    assert parameters(getattr(functional, name)) == parameters(getattr(F, name))


@pytest.mark.parametrize("name", MODULES)
def test_module_signature(name):
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    assert issubclass(ours, theirs)
    assert parameters(ours) == parameters(theirs)
    assert parameters(ours.forward) == parameters(theirs.forward)


def test_gaps():
    modules = {n for n in torch.nn.modules.loss.__all__ if hasattr(torch.nn, n)}
    more = set(dir(importlib.import_module("bpx_torch.nn")))
    assert modules - set(MODULES) - more == {n for n in nn.GAPS if hasattr(torch.nn, n)}
    more = set(dir(importlib.import_module("bpx_torch.functional")))
    losses = {n for n in dir(F) if n.endswith(("_loss", "cross_entropy"))}
    losses |= {"binary_cross_entropy_with_logits", "kl_div"}
    assert losses - set(FUNCTIONS) - more == {n for n in functional.GAPS if hasattr(F, n)}
    assert not (set(FUNCTIONS) | more) & set(functional.GAPS)
    assert not set(MODULES) & set(nn.GAPS)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", FUNCTIONS[:4])
def test_differences(name, reduction):
    ours, theirs = getattr(functional, name), getattr(F, name)
    x, target = 3 * randn(2, 3, 5), randn(2, 3, 5)
    options = {"huber_loss": "delta", "smooth_l1_loss": "beta"}
    for chosen in ({}, {options[name]: 0.4} if name in options else {}):
        compare(ours, theirs, (x, target), reduction=reduction, **chosen)
    if name != "smooth_l1_loss":
        weight = rand(2, 3, 5)
        compare(ours, theirs, (x, target), weight=weight, reduction=reduction)
        with pytest.raises(SpecError, match="weight has shape"):
            ours(x, target, weight=weight[0])
    for wide, narrow in ((x, target[0, 1]), (x[:1, :, :1], target)):
        with pytest.warns(UserWarning, match="broadcast"):
            compare(ours, theirs, (wide, narrow), reduction=reduction)
    if name == "smooth_l1_loss":
        compare(ours, theirs, (x, target), reduction=reduction, beta=0.0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropies(reduction):
    p, z, target = rand(2, 3, 5), 5 * randn(2, 3, 5), rand(2, 3, 5)
    for weight in (None, rand(5), rand(3, 1), rand(2, 3, 5)):
        options = {"weight": weight, "reduction": reduction}
        compare(functional.binary_cross_entropy, F.binary_cross_entropy, (p, target), **options)
        for pos_weight in (None, rand(5), rand(1)[0], rand(3, 5)):
            compare(
                functional.binary_cross_entropy_with_logits,
                F.binary_cross_entropy_with_logits,
                (z, target),
                pos_weight=pos_weight,
                **options,
            )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (4, 5), (4, 5, 3), (2, 5, 3, 4)])
def test_cross_entropy(shape, reduction):
    logits = 3 * randn(*shape)
    labels = torch.randint(0, 5, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    if len(shape) > 1:
        labels.view(-1)[[0, 2]] = torch.tensor([-100, 3])
    chances = torch.softmax(randn(*shape), 1 if len(shape) > 1 else 0)
    for weight, s in itertools.product((None, rand(5)), (0.0, 0.3)):
        options = {"weight": weight, "label_smoothing": s, "reduction": reduction}
        pair = (functional.cross_entropy, F.cross_entropy)
        compare(*pair, (logits,), labels, **options)
        compare(*pair, (logits, chances), **options)
    with pytest.raises(SpecError, match="ignore_index is 2"):
        functional.cross_entropy(logits, chances, ignore_index=2)


def test_ignore_index_is_an_option():
    logits, labels = randn(4, 5), torch.tensor([3, 1, 3, 0])
    compare(functional.cross_entropy, F.cross_entropy, (logits,), labels, None, None, 3)


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    x, target = rand(4, 5), rand(4, 5)
    options = {"HuberLoss": {"delta": 0.4}, "SmoothL1Loss": {"beta": 0.4}}.get(name, {})
    if name in ("BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss"):
        options = {"weight": rand(5)}
    if name == "BCEWithLogitsLoss":
        options["pos_weight"] = rand(5)
    if name == "CrossEntropyLoss":
        options |= {"label_smoothing": 0.2}
    for reduction in REDUCTIONS:
        ours, theirs = (
            getattr(library, name)(reduction=reduction, **options) for library in (nn, torch.nn)
        )
        compare(ours, theirs, (x, target))
        if name == "CrossEntropyLoss":
            ours.ignore_index = theirs.ignore_index = 2
            compare(ours, theirs, (x,), torch.tensor([2, 0, 4, 2]))


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"huber_loss"}))
@pytest.mark.filterwarnings("ignore:size_average and reduce")
def test_deprecated_reductions(name):
    x, target = rand(4, 5), rand(4, 5)
    for size_average, reduce in itertools.product((None, True, False), repeat=2):
        old = {"size_average": size_average, "reduce": reduce}
        compare(getattr(functional, name), getattr(F, name), (x, target), **old)


def test_unknown_reduction():
    for name in FUNCTIONS:
        with pytest.raises(SpecError, match="reduction is 'average'"):
            getattr(functional, name)(rand(3), rand(3), reduction="average")


def test_nothing_counts():
    logits = randn(3, 5).requires_grad_()
    weight = rand(5).requires_grad_()
    ignored = torch.full((3,), -100)
    zero = torch.zeros(5, dtype=torch.float64)
    for target, w in ((ignored, weight), (torch.tensor([0, 4, 2]), zero)):
        for s in (0.0, 0.2):
            y = functional.cross_entropy(logits, target, w, label_smoothing=s)
            assert y == 0
            for g in torch.autograd.grad(y, [a for a in (logits, w) if a.requires_grad]):
                assert not g.any()
    for name in FUNCTIONS:
        x = rand(0, 5).requires_grad_()
        target = rand(0, 5)
        y = getattr(functional, name)(x, target)
        assert y == 0
        assert torch.autograd.grad(y, x)[0].shape == (0, 5)


def test_ignored_rows_may_hold_anything():
    logits = randn(4, 5)
    logits[1], logits[3, 2] = -torch.inf, torch.nan
    leaf = logits.clone().requires_grad_()
    target = torch.tensor([2, -100, 0, -100])
    y = functional.cross_entropy(leaf, target, label_smoothing=0.1)
    (g,) = torch.autograd.grad(y, leaf)
    assert torch.isfinite(y)
    assert torch.isfinite(g).all()
    assert not g[[1, 3]].any()


def test_label_out_of_range():
    logits = randn(4, 5)
    for label in (-1, 5, -99, 156):
        target = torch.tensor([1, label, 4, 0])
        with pytest.raises(SpecError, match=f"target holds {label}"):
            functional.cross_entropy(logits, target)

        def loss(z, t, s):
            return functional.cross_entropy(z, t, reduction="sum", label_smoothing=s)

        for s in (0.0, 0.3, 1.0):
            each = torch.func.vmap(torch.func.grad_and_value(loss), in_dims=(0, 0, None))
            g, y = each(logits, target, s)
            bad = torch.arange(4) == 1
            assert (y.isnan() == bad).all()
            assert (g.isnan() == bad[:, None]).all()
            g, y = torch.func.grad_and_value(loss)(logits, target, s)
            assert y.isnan()
            assert (g.isnan() == bad[:, None]).all()


def test_small_integer_labels():
    logits, labels = randn(2, 300), torch.tensor([156, 200])
    want = F.cross_entropy(logits, labels, reduction="none")
    rule = importlib.import_module("bpx_torch.losses.cross_entropy")
    x, weight = rule.widened(logits, None)
    ignored, label, wy = rule.counted(x, labels.to(torch.uint8), weight, -100)
    assert not ignored.any()
    got = rule.row_losses(x, x.logsumexp(-1), None, (ignored, label, wy), 0.0)
    torch.testing.assert_close(got, want)


def test_float16_is_summed_in_float32():
    x = torch.full((4096,), 6.0, dtype=torch.float16)
    assert functional.mse_loss(x, torch.zeros_like(x)) == 36
    logits = torch.zeros(3, 70_000, dtype=torch.float16)  # their exp sums to more than 65504
    y = functional.cross_entropy(logits, torch.tensor([0, 1, 69_999]))
    assert abs(y.item() - np.log(70_000)) < 0.01


def test_uint8_labels_are_not_wrapped():
    """300 classes do not fit uint8: 50 is a label, and 156 is not ignore_index -100."""
    logits = torch.randn(3, 300, dtype=torch.float64)
    labels = torch.tensor([50, 156, 255], dtype=torch.uint8)
    want = functional.cross_entropy(logits, labels.long(), reduction="none")
    from bpx_torch.losses import RULES

    got = RULES["cross_entropy"](logits, labels, None, reduction="none")
    assert torch.equal(got, want)
