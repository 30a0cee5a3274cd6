"""Gradients that are missing, arguments and outputs that are not asked for, second derivatives and
transforms."""

from __future__ import annotations

import torch
from torch.autograd.function import once_differentiable

from bpx.verify import Float
from bpx.verify.zoo import Plant
from bpx_torch.zoo._rule import function


def scaled(x, w):
    return x * x * w


def right(g, x, w):
    return 2 * g * x * w, (g * x * x).sum(0)


def _crash_without(g, x, w):
    """What a rule does that takes every gradient for granted."""
    return 2 * g * x * w, (g * x * x).sum(0)


class Needs(torch.autograd.Function):
    """Gradients are computed where they are asked for; `wrong` then uses one that is None."""

    wrong = False

    @classmethod
    def run(cls, x, w):
        return cls.apply(x, w)

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return scaled(x, w)

    @classmethod
    def grads(cls, ctx, g):
        x, w = ctx.saved_tensors
        dx = 2 * g * x * w if ctx.needs_input_grad[0] else None
        dw = (g * x * x).sum(0) if ctx.needs_input_grad[1] else None
        return dx, dw

    @staticmethod
    def backward(ctx, g):
        return Needs.grads(ctx, g)


class NeedsWrong(Needs):
    @staticmethod
    def backward(ctx, g):
        dx, dw = Needs.grads(ctx, g)
        return dx.clone(), dw.clone()


def two(x):
    return x * x, x.sin()


def _two_right(g, h, x):
    return 2 * g * x + h * x.cos()


class Two(torch.autograd.Function):
    """Two outputs; an unused one may come as None."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return two(x)

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return 2 * g * x + h * x.cos()


class Detached(torch.autograd.Function):
    """Backward differentiates a detached copy: a constant to a second derivative."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return scaled(x, w)

    @staticmethod
    def backward(ctx, g):
        with torch.enable_grad():
            x, w = (t.detach().requires_grad_() for t in ctx.saved_tensors)
            return torch.autograd.grad(scaled(x, w), (x, w), g.detach())


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return scaled(x, w)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return right(g, *ctx.saved_tensors)


class Refuses(Once):
    """The same without a second derivative, loudly."""

    @staticmethod
    def backward(ctx, g):
        if torch.is_grad_enabled():
            raise RuntimeError("this rule has no second derivative")
        return right(g, *ctx.saved_tensors)


class Batched(torch.autograd.Function):
    """With a vmap rule of its own."""

    @staticmethod
    def forward(x, w):
        return scaled(x, w)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return right(g, *ctx.saved_tensors)

    @staticmethod
    def vmap(info, in_dims, x, w):
        x = x.movedim(in_dims[0], 0) if in_dims[0] is not None else x[None]
        w = w.movedim(in_dims[1], 0)[:, None] if in_dims[1] is not None else w
        return x * x * w, 0


class Unmoved(Batched):
    """Takes the batch for the first dim, wherever it is."""

    @staticmethod
    def vmap(info, in_dims, x, w):
        return x * x * (w[:, None] if in_dims[1] is not None else w), 0


class Dropped(Batched):
    """The batch rule computes outside the graph."""

    @staticmethod
    def vmap(info, in_dims, x, w):
        y, dim = Batched.vmap(info, in_dims, x, w)
        return y.detach(), dim


ROWS, PAIR = [Float("N", "D")], [Float("N", "D"), Float("D")]
GOOD = function(scaled, right, 2)
PLANTS = (
    Plant(83, "the gradient of the weight is None", ("vjp",), GOOD,
          function(scaled, lambda g, x, w: (2 * g * x * w, None), 2), PAIR, scaled),
    Plant(85, "the graph is cut", ("return", "vjp"), GOOD, lambda x, w: scaled(x.detach(), w), PAIR,
          scaled),
    Plant(86, "crash where an argument asks for no gradient", ("subset",), Needs.apply,
          NeedsWrong.apply, PAIR, scaled, {"vmap": False}),
    Plant(89, "crash where an output is not used", ("unused",), function(two, _two_right),
          Two.apply, ROWS, two),
    Plant(91, "backward differentiates a detached copy", ("twice",), GOOD, Detached.apply, PAIR,
          scaled, {"vmap": False}),
    Plant(92, "once_differentiable is silent", ("twice",), Refuses.apply, Once.apply, PAIR, scaled,
          {"twice": False, "vmap": False}),
    Plant(94, "vmap drops the gradient", ("transform",), Batched.apply, Dropped.apply, PAIR,
          scaled),
    Plant(95, "vmap ignores where the batch is", ("transform",), Batched.apply, Unmoved.apply,
          PAIR, scaled),
)  # fmt: skip
