"""Calls as nodes of torch's graph: what autograd promises of a node."""

import gc
import threading
import weakref

import pytest

torch = pytest.importorskip("torch")

from bpx_torch import RULES, _node, _recording
from bpx_torch import functional as F

pytestmark = pytest.mark.skipif(_node.build() is not None, reason=str(_node.available()))

FUNCTION = torch.autograd.function.BackwardCFunction


def exactly(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def node(x, name="sigmoid"):
    y = getattr(F, name)(x)
    assert not isinstance(y.grad_fn, FUNCTION)
    return y


def test_a_graph_is_used_once():
    x = torch.randn(5, requires_grad=True)
    y = node(x)
    y.backward(torch.ones(5), retain_graph=True)
    y.backward(torch.ones(5))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward(torch.ones(5))


@pytest.mark.parametrize("kept", ["an argument", "the result"])
def test_what_was_saved_may_not_be_changed(kept):
    x = torch.randn(5, 2, requires_grad=True)
    y = node(x) if kept == "an argument" else F.softmax(x, -1)
    assert not isinstance(y.grad_fn, FUNCTION)
    (x if kept == "an argument" else y).detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(torch.ones(5, 2))


def test_saved_tensor_hooks():
    x, seen = torch.randn(6, requires_grad=True), []

    def pack(t):
        seen.append(t)
        return t.to(torch.float64)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t.float()):
        y = node(x, "gelu")
    y.backward(torch.full((6,), 2.0))
    assert len(seen) == 1
    exactly(x.grad, 2 * torch.autograd.grad(node(x, "gelu"), x, torch.ones(6))[0])


def test_hooks_that_return_another_layout_or_dtype():
    """Whatever a hook puts in the place of what was saved goes the long way."""
    x = torch.randn(4, 6, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.t().contiguous().t()):
        y = node(x, "gelu")
    dy = torch.randn(4, 6)
    exactly(torch.autograd.grad(y, x, dy)[0], torch.autograd.grad(node(x, "gelu"), x, dy)[0])


@pytest.mark.parametrize("swap", [False, True])
def test_a_residual_without_elements(swap):
    """triplet_margin keeps the difference that swap looks at, none of it without."""
    given = [torch.randn(4, 6, requires_grad=True) for _ in range(3)]
    y = RULES["triplet_margin"](*given, swap=swap, reduction="none")
    assert not isinstance(y.grad_fn, FUNCTION)
    plain = RULES["triplet_margin"].forward(*given, swap=swap, reduction="none")[0]
    dy = torch.randn(4)
    for found, want in zip(*(torch.autograd.grad(r, given, dy) for r in (y, plain)), strict=True):
        torch.testing.assert_close(found, want)


def test_arrays_with_gaps_go_the_long_way():
    x = torch.randn(4, 6, requires_grad=True)
    node(x)
    y = F.sigmoid(x.t()[::2])
    assert isinstance(y.grad_fn, FUNCTION)
    dy = torch.randn(3, 4)
    g = torch.autograd.grad(node(x), x, torch.ones(6, 4).t() * 0 + _spread(dy))[0]
    exactly(torch.autograd.grad(y, x, dy)[0], g)


def _spread(dy):
    wide = torch.zeros(6, 4)
    wide[::2] = dy
    return wide.t()


@pytest.mark.parametrize("change", ["strided", "expanded", "zero", "negative"])
def test_a_cotangent_of_any_layout(change):
    x = torch.randn(4, 6, requires_grad=True)
    dy = {
        "strided": lambda: torch.randn(6, 4).t(),
        "expanded": lambda: torch.randn(6).expand(4, 6),
        "zero": lambda: torch._efficientzerotensor((4, 6)),
        "negative": lambda: torch.randn(4, 6, dtype=torch.complex64).conj().imag,
    }[change]()
    y = node(x)
    exactly(torch.autograd.grad(y, x, dy)[0], torch.autograd.grad(node(x), x, dy.clone())[0])


def test_batched_cotangents_and_transforms():
    x = torch.randn(3, requires_grad=True)
    y, dys = node(x), torch.randn(5, 3)
    each = torch.stack([torch.autograd.grad(y, x, d, retain_graph=True)[0] for d in dys])
    for found in (
        torch.autograd.grad(y, x, dys, is_grads_batched=True, retain_graph=True)[0],
        torch.func.vmap(lambda d: torch.autograd.grad(y, x, d, retain_graph=True)[0])(dys),
    ):
        torch.testing.assert_close(found, each)


def test_forward_mode_over_a_node():
    x, v = torch.randn(3, dtype=torch.float64, requires_grad=True), torch.randn(3).double()
    y = node(x)
    with torch.autograd.forward_ad.dual_level():
        dy = torch.autograd.forward_ad.make_dual(torch.ones(3).double(), v)
        (g,) = torch.autograd.grad(y, x, dy, retain_graph=True)
        tangent = torch.autograd.forward_ad.unpack_dual(g).tangent
    torch.testing.assert_close(tangent, torch.autograd.grad(y, x, v)[0])


def test_no_gradient_no_node():
    x = torch.randn(5)
    assert F.sigmoid(x).grad_fn is None
    x.requires_grad_()
    with torch.no_grad():
        assert F.sigmoid(x).grad_fn is None
    with torch.inference_mode():
        assert F.sigmoid(x).is_inference()


def test_a_failure_of_the_long_way_is_told(monkeypatch):
    def fails(*args):
        raise ZeroDivisionError("told")

    monkeypatch.setattr(_recording, "_slow", lambda *args: fails)
    y = node(x := torch.randn(7, 2, requires_grad=True))
    with pytest.raises(ZeroDivisionError, match="told"):
        torch.autograd.grad(y, x, torch.ones(7, 2), create_graph=True)


def test_gradients_that_are_not_asked_for_are_not_made(monkeypatch):
    asked, slow = [], _recording._slow

    def counted(*args):
        way = slow(*args)
        return lambda dys, saved, needs, link: asked.append(needs) or way(dys, saved, needs, link)

    monkeypatch.setattr(_recording, "_slow", counted)
    x, gate = (torch.randn(5, 7, requires_grad=True) for _ in range(2))
    y = RULES["swiglu"](x, gate)
    assert not isinstance(y.grad_fn, FUNCTION)
    torch.autograd.grad(y, gate, torch.ones(5, 7), retain_graph=True)
    torch.autograd.grad(y, [x, gate], torch.ones(5, 7))
    assert asked == [(False, True)]


def test_a_zero_with_a_sign_is_another_option():
    x = torch.full((2, 5), -3.0, requires_grad=True)
    for value in (0.0, -0.0, 0.0, -0.0):
        y = F.threshold(x, 1.0, value)
        assert not isinstance(y.grad_fn, FUNCTION)
        assert (torch.signbit(y) == (str(value) == "-0.0")).all()


def test_compiled_autograd_says_what_to_do():
    from torch._dynamo import compiled_autograd

    y = node(torch.randn(3, 11, requires_grad=True))
    said = "sigmoid_cpuBackward was run eagerly .* before the first forward"
    with (
        compiled_autograd._enable(torch.compile(backend="eager")),
        pytest.raises(NotImplementedError, match=said),
    ):
        y.sum().backward()


def test_nodes_in_threads():
    x = torch.randn(1000, requires_grad=True)
    dy = torch.randn(1000)
    want, found = torch.autograd.grad(node(x), x, dy)[0], []

    def work():
        for _ in range(50):
            found.append(torch.autograd.grad(node(x), x, dy)[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 200
    for g in found:
        exactly(g, want)


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])  # which keep x, and y
def test_nothing_is_kept_alive(name):
    rule = RULES[name]
    x = torch.randn(11, 3, requires_grad=True)
    y = rule(x)
    assert not isinstance(y.grad_fn, FUNCTION)
    (plan,) = [p for p in rule.fast.plans.values() if p and p.sizes == [x.shape]]
    kept = [weakref.ref(t) for t in (x, y, plan)]
    rule.fast.plans = {k: p for k, p in rule.fast.plans.items() if p is not plan}
    del x, y, plan
    gc.collect()
    assert [k() for k in kept] == [None, None, None]


def test_large_arguments_are_not_copied(monkeypatch):
    monkeypatch.setattr(_recording, "LARGEST", 100)
    x = torch.randn(13, 2, requires_grad=True)
    assert isinstance(F.sigmoid(x).grad_fn, FUNCTION)


def test_a_constant_derivative_has_a_derivative():
    """leaky_relu keeps a mask alone; the gradient of its gradient is zeros, not an error."""
    x = torch.randn(3, 4, requires_grad=True)
    (g,) = torch.autograd.grad(F.leaky_relu(x), x, torch.randn(3, 4), create_graph=True)
    assert not isinstance(g.grad_fn, FUNCTION)
    exactly(torch.autograd.grad(g.sum(), x)[0], torch.zeros(3, 4))
