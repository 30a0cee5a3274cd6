"""Reversible blocks in torch: gradients of the plain blocks, memory, random numbers, errors."""

import copy

import numpy as np
import pytest

from bpx.spec import SpecError

D = 4


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def close(got, want, rtol=1e-11):
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=rtol, atol=rtol)


def branch(torch, dropout=0.0):
    layers = torch.nn.Linear(D, 3), torch.nn.Tanh(), torch.nn.Dropout(dropout)
    return torch.nn.Sequential(*layers, torch.nn.Linear(3, D)).double()


def sequence(torch, depth, dropout=0.0, **options):
    from bpx_torch import nn

    make = lambda: branch(torch, dropout)  # noqa: E731
    return nn.ReversibleSequence(
        nn.ReversibleBlock(make(), make(), **options) for _ in range(depth)
    )


def plain(model, x1, x2):
    for b in model.blocks:
        x1 = x1 + b.f(x2)
        x2 = x2 + b.g(x1)
    return x1, x2


def inputs(torch, *shape, dtype=None):
    made = torch.randn(2, *(shape or (5, D)), dtype=dtype or torch.float64)
    return [x.clone().requires_grad_() for x in made]


def gradients(torch, run, model, xs, seed=3):
    torch.manual_seed(seed)
    ys = run(*xs)
    generator = torch.Generator().manual_seed(9)
    dys = [torch.randn(y.shape, dtype=y.dtype, generator=generator) for y in ys]
    return [y.detach() for y in ys], torch.autograd.grad(ys, (*xs, *model.parameters()), dys)


@pytest.mark.parametrize("depth", [1, 4])
def test_torch_gradients_are_those_of_the_plain_blocks(torch, depth):
    model, xs = sequence(torch, depth), inputs(torch)
    got = gradients(torch, model, model, xs)
    want = gradients(torch, lambda *x: plain(model, *x), model, xs)
    for g, w in zip((*got[0], *got[1]), (*want[0], *want[1]), strict=True):
        close(g, w)
    x1, x2 = model.blocks[0].inverse(*model.blocks[0](*xs))
    close(x1.detach(), xs[0].detach())
    close(x2.detach(), xs[1].detach())


def test_torch_shared_and_frozen_parameters_and_plain_functions(torch):
    from bpx_torch import nn

    f = branch(torch)
    f[0].bias.requires_grad_(False)
    first, xs = nn.ReversibleBlock(f, torch.sin), inputs(torch)
    model = nn.ReversibleSequence([first, nn.ReversibleBlock(torch.cos, f), first])
    dy = torch.randn_like(xs[0])
    asked = (*xs, *(p for p in model.parameters() if p.requires_grad))
    assert len(asked) == 5
    got, want = (
        torch.autograd.grad(run(*xs)[1], asked, dy) for run in (model, lambda *x: plain(model, *x))
    )
    for g, w in zip(got, want, strict=True):
        close(g, w)


def test_torch_memory_does_not_grow_with_depth(torch):
    def kept(run, xs):
        saved = {}

        def pack(t):
            saved[t.untyped_storage().data_ptr()] = t
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            ys = run(*xs)
        return sum(t.untyped_storage().nbytes() for t in saved.values()), ys

    xs = inputs(torch)
    models = [sequence(torch, depth) for depth in (2, 20)]
    shallow, deep = (kept(m, xs)[0] for m in models)
    assert shallow == deep == sum(x.numel() * 8 for x in xs)
    assert kept(lambda *x: plain(models[1], *x), xs)[0] > 20 * deep


def test_torch_dropout_draws_the_same_numbers_again(torch):
    model, xs = sequence(torch, 3, dropout=0.5), inputs(torch)
    got = gradients(torch, model, model, xs)
    after = torch.rand(3)
    want = gradients(torch, lambda *x: plain(model, *x), model, xs)
    assert torch.equal(after, torch.rand(3)), "backward moved the generator"
    for g, w in zip((*got[0], *got[1]), (*want[0], *want[1]), strict=True):
        close(g, w)
    other = sequence(torch, 3, dropout=0.5, preserve_rng_state=False)
    other.load_state_dict(model.state_dict())
    lost = gradients(torch, other, other, xs)[1]
    assert not all(np.allclose(g, w) for g, w in zip(lost, want[1], strict=True))


def test_torch_states_are_kept_for_what_drew_alone(torch):
    from bpx_torch import nn

    block = nn.ReversibleBlock(branch(torch, 0.5), branch(torch))
    y1, _ = block(*inputs(torch))
    ((of_f, of_g),) = y1.grad_fn.states
    assert of_f.random is not None
    assert of_g.random is None


def test_torch_autocast_is_as_in_forward(torch):
    model = sequence(torch, 2).float()
    seen = []
    hook = lambda m, i, o: seen.append(o.dtype)  # noqa: E731
    model.blocks[0].f[0].register_forward_hook(hook)
    xs = inputs(torch, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y1, y2 = model(*xs)
        want = plain(model, *xs)
    got = torch.autograd.grad(y1.sum() + y2.square().sum(), xs)
    want = torch.autograd.grad(want[0].sum() + want[1].square().sum(), xs)
    assert seen == [torch.bfloat16] * 3
    assert not torch.is_autocast_enabled("cpu")
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w, rtol=0.05, atol=0.05)


def test_torch_many_float32_blocks_lose_few_digits(torch):
    """64 blocks: the inputs come back to rounding, so do the gradients."""
    model, xs = sequence(torch, 64), inputs(torch)
    want = gradients(torch, lambda *x: plain(model, *x), model, xs)[1]
    model = copy.deepcopy(model).float()
    xs = [x.detach().float().requires_grad_() for x in xs]
    got = gradients(torch, lambda *x: [y.double() for y in model(*x)], model, xs)[1]
    for g, w in zip(got, want, strict=True):
        # at most 64 roundings of 2^-24 for each of the forward pass, its inversion and backward
        assert (g - w).abs().max() <= 3 * 64 * 2.0**-24 * 4 * w.abs().max()


def test_torch_says_what_is_wrong(torch):
    from bpx_torch import nn

    model, xs = sequence(torch, 2), inputs(torch)
    y1, _ = model(*xs)
    with pytest.raises(NotImplementedError, match="reversible: a second derivative is not"):
        torch.autograd.grad(y1.sum(), xs, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"torch\.func is not available"):
        torch.func.grad(lambda x: model(x, xs[1])[0].sum())(xs[0])
    free = branch(torch)
    y1, _ = nn.ReversibleBlock(lambda x: free(x), torch.sin)(*xs)
    with pytest.raises(SpecError, match="the function uses a tensor of shape"):
        y1.sum().backward()
    with pytest.raises(SpecError, match=r"f gives shape \(5, 3\), expected \(5, 4\)"):
        nn.ReversibleBlock(free[0], torch.sin)(*xs)
    with pytest.raises(SpecError, match="g is int, expected a module or a function"):
        nn.ReversibleBlock(free, 3)
    with pytest.raises(SpecError, match="a block is Linear, expected a ReversibleBlock"):
        nn.ReversibleSequence([free[0]])
    with pytest.raises(SpecError, match="x1 is"):
        model(torch.arange(4), xs[1])
