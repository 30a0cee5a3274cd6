"""Fixed points in torch: gradients against the exact solve and the unrolled iteration, memory,
errors."""

import functools
import itertools

import pytest

from bpx.spec import SpecError
from tests.equilibrium import H, N, close, numbers


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def torch_problem(torch, **kwargs):
    w, x, dy, *exact = numbers(**kwargs)
    w, x = (torch.tensor(a, requires_grad=True) for a in (w, x))
    return w, x, torch.tensor(dy), torch.zeros(N, H, dtype=torch.float64), exact


def step(torch):
    return lambda z, w, x: torch.tanh(z @ w.T + x)


def test_torch_equals_the_exact_solve(torch):
    from bpx_torch import fixed_point

    w, x, dy, z0, (z, dw, dx) = torch_problem(torch)
    got = fixed_point(step(torch), z0, w, x, tol=1e-15)
    close(got.detach(), z, 1e-13)
    for g, want in zip(torch.autograd.grad(got, (w, x), dy), (dw, dx), strict=True):
        close(g, want, 1e-12)
    loose = fixed_point(step(torch), z0, w, x)  # eps^(3/4) is what the tolerance promises
    for g, want in zip(torch.autograd.grad(loose, (w, x), dy), (dw, dx), strict=True):
        close(g, want, 1e-10)


def test_torch_module_parameters_and_arguments_that_are_no_tensors(torch):
    from bpx_torch import fixed_point

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(H, H)
            self.linear.bias.requires_grad_(False)

        def forward(self, z, x, scale):
            return torch.tanh(scale * self.linear(z) + x)

    _, x, dy, z0, _ = torch_problem(torch)
    f = Layer().double()
    z = fixed_point(f, z0, x, 0.5, tol=1e-15)
    unrolled = functools.reduce(lambda z, _: f(z, x, 0.5), range(80), z0)
    asked = (f.linear.weight, x)
    got, want = (torch.autograd.grad(y, asked, dy) for y in (z, unrolled))
    for g, h in zip(got, want, strict=True):
        close(g, h, 1e-12)


def test_torch_keeps_z_and_the_arguments_alone(torch):
    from bpx_torch import fixed_point
    from bpx_torch._checks import saved_bytes

    for norm in (0.1, 0.8):  # many more iterations
        w, x, _, z0, _ = torch_problem(torch, norm=norm)
        every, new = saved_bytes(lambda w, x, z0=z0: fixed_point(step(torch), z0, w, x), (w, x))
        assert (every, new) == (8 * (H * H + 2 * N * H), 0)


def test_torch_lets_the_graph_of_one_step_go(torch):
    """Of the call that looks for tensors that f was not given."""
    import gc
    import weakref

    from bpx_torch import fixed_point

    w, x, _, z0, _ = torch_problem(torch)
    outputs = []

    def f(z, w, x):
        y = torch.tanh(z @ w + x)  # keeps its output
        outputs.append(weakref.ref(y))
        return y

    z = fixed_point(f, z0, w, x)
    z.sum().backward()
    del z
    gc.collect()
    assert outputs
    assert not [y for y in outputs if y() is not None]


def test_torch_second_derivative(torch):
    from bpx_torch import fixed_point

    w, x, _, z0, _ = torch_problem(torch)
    f = lambda w, x: fixed_point(step(torch), z0, w, x, tol=1e-15)[:2, :2]  # noqa: E731
    assert torch.autograd.gradcheck(f, (w, x), atol=1e-8)
    assert torch.autograd.gradgradcheck(f, (w, x), atol=1e-7)
    layer = torch.nn.Linear(H, H).double()
    with torch.no_grad():
        layer.weight *= 0.3

    def loss(z):
        return (z.sin() ** 2).sum()

    grads = []
    for solve in (
        lambda: fixed_point(layer, z0, tol=1e-15),
        lambda: functools.reduce(lambda z, _: layer(z), range(60), z0),
    ):
        (g,) = torch.autograd.grad(loss(solve()), layer.weight, create_graph=True)
        grads.append(torch.autograd.grad((g**2).sum(), (layer.weight, layer.bias)))
    for a, b in zip(*grads, strict=True):
        close(a, b, 1e-9)


def test_torch_trains(torch):
    """A loop that descends: one step of an outer optimizer through the equilibrium each time."""
    from bpx_torch import fixed_point

    w, x, _, z0, _ = torch_problem(torch)
    w = w.detach().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=0.05)
    target, losses = 0.5 * torch.tanh(x.detach()), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (fixed_point(step(torch), z0, w, x.detach()) - target).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(b < a for a, b in itertools.pairwise(losses))
    assert losses[-1] < 0.9 * losses[0]


def test_torch_says_what_is_wrong(torch):
    from bpx_torch import fixed_point

    w, x, dy, z0, _ = torch_problem(torch)
    f = step(torch)
    with pytest.raises(SpecError, match=r"z moves by .* after 7 iterations, expected at most"):
        fixed_point(f, z0, w, x, max_iter=7)
    with pytest.raises(SpecError, match="z moves by nan after"):
        fixed_point(lambda z: z * torch.nan, z0)
    with pytest.raises(SpecError, match=r"uses a tensor of shape \(4, 4\) that asks"):
        fixed_point(lambda z, x: f(z, w, x), z0, x)
    with pytest.raises(SpecError, match=r"f gives shape \(3,\)"):
        fixed_point(lambda z: z.sum(1), z0)
    with pytest.raises(SpecError, match=r"z0 is torch\.int64"):
        fixed_point(f, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(SpecError, match="max_iter is 0, expected a positive integer"):
        fixed_point(f, z0, w, x, max_iter=0)
    with pytest.raises(SpecError, match="tol is -1, expected at least 0"):
        fixed_point(f, z0, w, x, tol=-1)
    with pytest.raises(NotImplementedError, match=r"fixed_point: torch\.func is not available"):
        torch.func.grad(lambda x: fixed_point(f, z0, w, x).sum())(x)
    # at its fixed point 0 this contracts nothing, so that the adjoint does not converge
    z = fixed_point(lambda z, a: z + 0 * a, z0, x)
    with pytest.raises(SpecError, match="the adjoint moves by"):
        torch.autograd.grad(z, x, dy)
