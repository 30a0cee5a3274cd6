"""The products of attention that gives its weights: every derivative of them, and what autocast and
torch.func make of them."""

import pytest

torch = pytest.importorskip("torch")

from bpx_torch._attention_weights import product, with_weights


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()


def pair():
    return draw(2, 3, 4, 5), draw(2, 3, 6, 5, seed=1)


def test_derivatives_of_both_orders_in_both_modes():
    assert torch.autograd.gradcheck(product, pair(), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(product, pair(), check_fwd_over_rev=True)


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_argument_alone(wanted):
    arrays = [a if i == wanted else a.detach() for i, a in enumerate(pair())]
    dy = draw(2, 3, 4, 6, seed=2).detach()
    (grad,) = torch.autograd.grad(product(*arrays), arrays[wanted], dy)
    full = torch.autograd.grad(torch.matmul(arrays[0], arrays[1].mT), arrays[wanted], dy)[0]
    torch.testing.assert_close(grad, full)


def test_under_torch_func():
    a, b = pair()
    batched = torch.func.vmap(product)(a.detach(), b.detach())
    torch.testing.assert_close(batched, (a @ b.mT).detach())
    one = torch.func.grad(lambda x: product(x, b.detach()).sin().sum())(a.detach())
    y = (a @ b.detach().mT).sin().sum()
    torch.testing.assert_close(one, torch.autograd.grad(y, a)[0])


def test_forward_mode_in_forward_mode_is_refused():
    a, b = (x.detach() for x in pair())
    jvp = torch.func.jvp
    with pytest.raises(NotImplementedError, match="forward mode inside forward mode"):
        jvp(lambda y: jvp(lambda x: product(x, b), (y,), (a,))[1], (a,), (a,))


def test_a_backward_in_a_region_of_autocast_keeps_its_dtype():
    a, b = (x.detach().float().requires_grad_() for x in pair())
    y, dy = product(a, b), draw(2, 3, 4, 6, seed=2).detach().float()
    outside = torch.autograd.grad(y, (a, b), dy, retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = torch.autograd.grad(y, (a, b), dy)
    for one, other in zip(outside, inside, strict=True):
        assert torch.equal(one, other)


def test_autocast_is_that_of_a_linear_layer():
    a, b = (x.detach().float().requires_grad_() for x in pair())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = product(a, b)
        wide = product(a.double(), b.double())
    assert y.dtype == torch.bfloat16
    assert wide.dtype == torch.float64
    y.backward(torch.ones_like(y))
    assert a.grad.dtype == b.grad.dtype == torch.float32


@pytest.mark.parametrize("kind", ["none", "mask", "bias"])
def test_y_and_weights_beside_torchs(kind):
    q, k, v = draw(2, 3, 4, 5), draw(2, 3, 6, 5, seed=1), draw(2, 3, 6, 7, seed=2)
    mask = draw(2, 1, 4, 6, seed=3).detach() > -0.5 if kind == "mask" else None
    bias = draw(2, 3, 4, 6, seed=3) if kind == "bias" else None
    y, w = with_weights(q, k, v, bias, mask, 0.0)
    scores = q @ k.mT / 5**0.5
    scores = scores if bias is None else scores + bias
    scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
    want = scores.softmax(-1)
    torch.testing.assert_close(w, want)
    dy, dw = torch.sin(y.detach() * 3), torch.cos(w.detach() * 2)
    arrays = [a for a in (q, k, v, bias) if a is not None]
    got = torch.autograd.grad([y, w], arrays, [dy, dw])
    for a, b in zip(got, torch.autograd.grad([want @ v, want], arrays, [dy, dw]), strict=True):
        torch.testing.assert_close(a, b)


def attending(kind):
    """(the call that gives y and weights, its floats), one query of which sees no key."""
    q, k, v = draw(2, 1, 3, 2), draw(2, 1, 4, 2, seed=1), draw(2, 1, 4, 3, seed=2)
    bias = draw(1, 1, 3, 4, seed=3) if kind == "bias" else None
    mask = None
    if kind == "mask":
        mask = draw(2, 1, 3, 4, seed=3).detach() > -0.5
        mask[1, 0, 2] = False
    floats = [a for a in (q, k, v, bias) if a is not None]
    return lambda q, k, v, bias=None: with_weights(q, k, v, bias, mask, 0.0), floats


@pytest.mark.parametrize("kind", ["none", "mask", "bias"])
def test_derivatives_of_y_and_weights(kind):
    f, floats = attending(kind)
    assert torch.autograd.gradcheck(f, floats, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(f, floats, check_fwd_over_rev=True)


@pytest.mark.parametrize("which", [0, 1])
def test_one_output_and_one_argument_alone(which):
    f, floats = attending("bias")
    dy = draw(*f(*floats)[which].shape, seed=5).detach()
    for i in range(4 - which):  # the weights do not depend on v
        i += i == 2 and which
        full = torch.autograd.grad(f(*floats)[which], floats[i], dy)[0]
        alone = [a if j == i else a.detach() for j, a in enumerate(floats)]
        (one,) = torch.autograd.grad(f(*alone)[which], alone[i], dy)
        torch.testing.assert_close(one, full)


def test_y_and_weights_under_torch_func():
    f, (q, k, v) = attending("none")
    q, k, v = (torch.stack([a, 2 * a]).detach() for a in (q, k, v))
    for found, want in zip(torch.func.vmap(f)(q, k, v), f(*(a[1] for a in (q, k, v))), strict=True):
        torch.testing.assert_close(found[1], want)
    each = torch.func.vmap(torch.func.grad(lambda *a: f(*a)[0].sin().sum()))(q, k, v)
    own = [a[1].requires_grad_() for a in (q, k, v)]
    torch.testing.assert_close(each[1], torch.autograd.grad(f(*own)[0].sin().sum(), own[0])[0])


def test_dropout_of_the_weights_is_another_way():
    _, floats = attending("mask")
    torch.manual_seed(3)
    y, w = with_weights(*floats, None, None, 0.5)
    assert (w == 0).any()
    torch.testing.assert_close(y, w @ floats[2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, w = with_weights(*(a.float() for a in floats), None, None, 0.0)
    assert y.dtype == torch.bfloat16
