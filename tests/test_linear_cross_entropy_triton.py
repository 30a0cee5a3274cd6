"""linear_cross_entropy's Triton kernel where it takes the gradients in its forward, in the
interpreter: values, batches that are added up, a second backward, a second derivative."""

import pytest

torch = pytest.importorskip("torch")
kernel = pytest.importorskip("bpx_torch.kernels.triton.linear_cross_entropy")
at_once = pytest.importorskip("bpx_torch.kernels.triton._logits_at_once")

from bpx.rule import use
from bpx_torch.fused.linear_cross_entropy import linear_cross_entropy
from tests.observed import answers

ROWS, FEATURES, CLASSES = 11, 2, 7
EVERY = {"label_smoothing": 0.2, "softcap": 2.0, "z_loss": 0.1}
OPTIONS = [
    {},
    {"reduction": "sum", "z_loss": 0.3},
    {"num_items": 5, "softcap": 1.5},
    {**EVERY, "ignore_index": 3},
]


def arrays(dtype=torch.float64, bias=True):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(ROWS, FEATURES, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(CLASSES, FEATURES, generator=generator).to(dtype).requires_grad_()
    target = torch.randint(0, CLASSES, (ROWS,), generator=generator)
    target[4] = -100
    b = torch.randn(CLASSES, generator=generator).to(dtype).requires_grad_() if bias else None
    return x, weight, target, b


def gradients(name, given, options, dy=-1.7):
    x, weight, target, bias = given
    asked = [a for a in (x, weight, bias) if a is not None]
    with use(name, interpret=name == "triton"):
        y = linear_cross_entropy(x, weight, target, bias, **options)
        dy = torch.tensor(dy, dtype=y.dtype)
        return [y, *torch.autograd.grad(y, asked, dy, retain_graph=True)], y, asked, dy


# how many rows have logits at once, how many have gradients, how many classes a block has
PARTS = {"all rows": (2**20, 2**20, 8), "in batches": (2, 4, 1), "in uneven parts": (3, 8, 4)}


@pytest.fixture(params=PARTS)
def parts(request, monkeypatch):
    part, batch, block = PARTS[request.param]
    monkeypatch.setattr(kernel, "PART", part * CLASSES)
    monkeypatch.setattr(kernel, "BATCH", 8 * batch * CLASSES)
    monkeypatch.setattr(at_once, "BLOCK", block)


@pytest.fixture
def early(monkeypatch):
    """Whether the calls took gradients in forward."""
    return answers(monkeypatch, kernel, "worth")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_are_those_of_the_plain_rule(options, bias, parts, early):
    given = arrays(bias=bias)
    target = given[2]
    if "ignore_index" in options:
        target[target == -100] = options["ignore_index"]
    found, want = (gradients(name, given, options)[0] for name in ("triton", "plain"))
    assert early == [True]
    for a, b in zip(found, want, strict=True):
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types_keep_theirs(dtype, parts, early):
    given = arrays(dtype)
    found, want = (gradients(name, given, {})[0] for name in ("triton", "plain"))
    limit = {torch.float32: 2.0**-20, torch.bfloat16: 2.0**-6}[dtype]
    assert early == [True]
    for a, b in zip(found, want, strict=True):
        assert a.dtype == b.dtype == dtype
        assert (a - b).abs().max() <= limit * b.abs().max()


def test_a_second_backward_gives_the_same_bits(parts, early):
    found, y, asked, dy = gradients("triton", arrays(), EVERY)
    before = [a.clone() for a in found[1:]]
    again = torch.autograd.grad(y, asked, dy)
    assert early == [True]
    for a, b in zip(before, again, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dy", [1.0, -0.3])
def test_a_graph_that_is_freed(dy, early):
    """The gradients that forward took are used up, and reach a leaf as they are."""
    found = []
    for name in ("triton", "plain"):
        given = arrays()
        with use(name, interpret=name == "triton"):
            y = linear_cross_entropy(*given, **EVERY)
        y.backward(torch.tensor(dy, dtype=y.dtype))
        found.append([a.grad for a in given if a.is_floating_point()])
        with pytest.raises(RuntimeError, match="a second time"):
            y.backward()
    assert early == [True]
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-14)


def test_the_second_derivative_is_that_of_the_plain_rule(early):
    def second(name):
        _, y, asked, _ = gradients(name, arrays(), EVERY)
        first = torch.autograd.grad(y, asked, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), asked)

    for a, b in zip(*map(second, ("triton", "plain")), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-13)
    assert early == [True]


def test_batched_gradients(early):
    dys = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
    found = []
    for name in ("triton", "plain"):
        _, y, asked, _ = gradients(name, arrays(), EVERY)
        found.append(torch.autograd.grad(y, asked, dys, is_grads_batched=True))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-14)


def test_where_gradients_would_take_more_room_than_logits_they_are_not_taken(early):
    x, weight, target, _ = arrays()
    few = x[:1].detach().requires_grad_(), weight, target[:1], None
    gradients("triton", few, {"reduction": "sum"})
    with use("triton", interpret=True), torch.no_grad():
        linear_cross_entropy(x, weight, target)
    with use("triton", interpret=True):
        linear_cross_entropy(x, weight, target, reduction="none").sum().backward()
        linear_cross_entropy(x.detach(), weight, target, bias=None).backward()
    assert early == [False, False, False, True]
