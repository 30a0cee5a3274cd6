"""Implicit differentiation of a fixed point, for PyTorch."""

import torch

from bpx.spec import SpecError, require
from bpx_torch import _recompute as recompute

ENTRY = "fixed_point"


def fixed_point(f, z0, *args, tol=None, max_iter=100):
    """The z with z = f(z, *args), differentiated by the implicit function theorem.

    f         a function of tensors, or a torch.nn.Module whose parameters then get gradients too;
              deterministic, and contracting near z, or neither iteration below converges
    z0        where the iteration z <- f(z, *args) starts: a floating tensor of z's shape and dtype;
              it has no gradient
    args      whatever f takes; floating tensors among them get gradients
    tol       the iteration ends where max|f(z) - z| <= tol max(1, max|z|); by default eps^(3/4) of
              the dtype: 6.4e-6 in float32, 1.8e-12 in float64
    max_iter  the most evaluations of f, forwards and backwards each

    Backward solves u = dy + (df/dz)^T u by the same iteration, each step one vector-Jacobian
    product of f, which is the caller's function: torch differentiates it, one evaluation at z.
    The gradients of args and parameters are (df/d.)^T u. Only z, args and parameters are kept,
    whatever the number of iterations; a second derivative is right, by solving for it in turn.
    Under torch.compile it runs eagerly.

    Raises SpecError, with the residual, where max_iter steps do not converge (in backward too),
    where f changes the shape or dtype of z, and where f uses a tensor that asks for a gradient and
    is neither an argument nor a parameter; NotImplementedError under torch.func.
    Source: Bai, Kolter, Koltun 2019, "Deep Equilibrium Models", arXiv:1909.01377, theorem 1.

    >>> w = torch.tensor(0.5, requires_grad=True)
    >>> z = fixed_point(lambda z, w: torch.cos(w * z), torch.tensor(0.0), w)
    >>> torch.allclose(z, torch.cos(w * z))
    True
    """
    recompute.eager(ENTRY)
    require(
        isinstance(z0, torch.Tensor) and z0.is_floating_point(),
        f"{ENTRY}: z0 is {getattr(z0, 'dtype', type(z0).__name__)}, expected a floating tensor",
    )
    require(
        type(max_iter) is int and max_iter > 0,
        f"{ENTRY}: max_iter is {max_iter!r}, expected a positive integer",
    )
    tol = torch.finfo(z0.dtype).eps ** 0.75 if tol is None else tol
    require(tol >= 0, f"{ENTRY}: tol is {tol}, expected at least 0")
    return _run(f, z0, args, tol, max_iter)


@torch.compiler.disable
def _run(f, z0, args, tol, max_iter):
    call, weights = f, ()
    if isinstance(f, torch.nn.Module):
        named = {n: p for n, p in f.named_parameters() if p.requires_grad}
        weights, count = tuple(named.values()), len(args)

        def call(z, *values):
            held = dict(zip(named, values[count:], strict=True))
            return torch.func.functional_call(f, held, (z, *values[:count]))

    return _FixedPoint.apply(call, z0.detach(), (tol, max_iter), *args, *weights)


class _FixedPoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, call, z0, settings, *values):
        ctx.state = recompute.State(z0.device, False)
        z = solve(lambda z: call(z, *values), z0.detach(), "z", *settings)
        if any(ctx.needs_input_grad):
            # Seen by no hook of others: nothing of it is kept. An output that a hook hands back as
            # itself would keep its own graph alive, and that graph the output.
            hidden = torch.autograd.graph.saved_tensors_hooks(torch.Tensor.detach, lambda t: t)
            with torch.enable_grad(), hidden:
                leaves = [recompute.leaf(v) for v in (z, *values)]
                recompute.no_strangers(ENTRY, call(*leaves), leaves)
        ctx.call, ctx.settings = call, settings
        ctx.tensors = [isinstance(v, torch.Tensor) for v in values]
        ctx.rest = [None if t else v for v, t in zip(values, ctx.tensors, strict=True)]
        ctx.save_for_backward(z, *(v for v in values if isinstance(v, torch.Tensor)))
        return z

    @staticmethod
    def backward(ctx, dy):
        # u = dy + (df/dz)^T u;  dvalue = (df/dvalue)^T u
        z, *tensors = ctx.saved_tensors
        values = _merged(tensors, ctx.tensors, ctx.rest)
        needs = [*ctx.needs_input_grad[3:]]
        asked = [i for i, n in enumerate(needs) if n]
        again = torch.is_grad_enabled()
        with torch.enable_grad(), ctx.state.again():
            if again:  # a derivative of u: u is a fixed point of a function of dy, z and values
                u = _run(_adjoint(ctx.call), dy, (dy, z, *values), *ctx.settings)
                at, *values = (_alias(v) for v in (z, *values))
                y = ctx.call(at, *values)
            else:
                at, *values = (recompute.leaf(v) for v in (z, *values))
                y = ctx.call(at, *values)
                pull = lambda u: dy + _vjp(y, at, u)  # noqa: E731
                u = solve(pull, dy, "the adjoint", *ctx.settings)
            if not y.requires_grad:  # f depends on nothing
                return (None,) * (3 + len(needs))
            found = torch.autograd.grad(
                y, [values[i] for i in asked], u, create_graph=again, allow_unused=True
            )
        grads = dict(zip(asked, found, strict=True))
        return (None, None, None, *(grads.get(i) for i in range(len(needs))))


def _adjoint(call):
    """u -> dy + (df/dz)^T u, as a function of all it depends on."""

    def step(u, dy, z, *values):
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            at, *values = (_alias(v) for v in (z, *values))
            return dy + _vjp(call(at, *values), at, u, create_graph=again)

    return step


def _alias(v):
    """v for a partial derivative: not the tensor that other values were computed from."""
    if isinstance(v, torch.Tensor) and v.requires_grad:
        return v.view_as(v)
    return recompute.leaf(v)


def _vjp(y, at, u, create_graph=False):
    """(dy/dat)^T u, zeros where y does not depend on it."""
    if not y.requires_grad:
        return torch.zeros_like(at)
    (g,) = torch.autograd.grad(
        y, at, u, retain_graph=True, create_graph=create_graph, allow_unused=True
    )
    return torch.zeros_like(at) if g is None else g


def _merged(tensors, there, rest):
    left = iter(tensors)
    return [next(left) if t else r for t, r in zip(there, rest, strict=True)]


@torch.no_grad()
def solve(step, z, name, tol, max_iter):
    """z <- step(z) until it moves no more."""
    for _ in range(max_iter):
        before, z = z, step(z).detach()
        if z.shape != before.shape or z.dtype != before.dtype:
            raise SpecError(
                f"{ENTRY}: f gives shape {tuple(z.shape)} and dtype {z.dtype}, expected "
                f"{tuple(before.shape)} and {before.dtype}, as z0"
            )
        if not z.numel():
            return z
        far = (z - before).abs().max()
        if far <= tol * z.abs().max().clamp(min=1):
            return z
    raise SpecError(
        f"{ENTRY}: {name} moves by {float(far):.3g} after {max_iter} iterations, expected at most "
        f"{tol:.3g} max(1, max|z|)"
    )
