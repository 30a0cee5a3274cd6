"""Reversible residual blocks, which keep no activations, re-exported by bpx_torch.nn."""

import torch

from bpx.spec import require
from bpx_torch import _recompute as recompute

ENTRY = "reversible"


class ReversibleBlock(torch.nn.Module):
    """y1 = x1 + f(x2), y2 = x2 + g(y1): backward computes x1 and x2 again from y1 and y2.

    f, g  a torch.nn.Module, or a function of one tensor; they keep the shape. A tensor that asks
          for a gradient must be a parameter of a module: backward raises SpecError where it is not
    preserve_rng_state  draw the same random numbers (dropout) again in backward: where f or g drew
          any, the generator's state (5 KB on the CPU) is kept for it. Autocast is as in forward too

    forward(x1, x2) -> (y1, y2). A module that changes its buffers in forward (batch norm) changes
    them again in backward, as under torch.utils.checkpoint. What backward computes has the rounding
    of y1 and y2, once more for each block. A second derivative and torch.func raise
    NotImplementedError.
    Source: Gomez, Ren, Urtasun, Grosse 2017, "The Reversible Residual Network: Backpropagation
    Without Storing Activations", arXiv:1707.04585, algorithm 1.
    """

    def __init__(self, f, g, preserve_rng_state=True):
        super().__init__()
        for name, branch in (("f", f), ("g", g)):
            require(
                callable(branch),
                f"{ENTRY}: {name} is {type(branch).__name__}, expected a module or a function",
            )
        self.f, self.g, self.preserve_rng_state = f, g, preserve_rng_state

    def forward(self, x1, x2):
        return _run([self], x1, x2)

    def inverse(self, y1, y2):
        """(x1, x2), differentiated by torch as any other function."""
        x2 = y2 - self.g(y1)
        return y1 - self.f(x2), x2


class ReversibleSequence(torch.nn.Module):
    """Blocks one after another that keep the last outputs alone: the memory for backward does not
    grow with their number. forward(x1, x2) -> (y1, y2); else as ReversibleBlock."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)
        for b in self.blocks:
            require(
                isinstance(b, ReversibleBlock),
                f"{ENTRY}: a block is {type(b).__name__}, expected a ReversibleBlock",
            )

    def forward(self, x1, x2):
        return _run(list(self.blocks), x1, x2)


@torch.compiler.disable
def _run(blocks, x1, x2):
    recompute.eager(ENTRY)
    for name, x in (("x1", x1), ("x2", x2)):
        require(
            isinstance(x, torch.Tensor) and x.is_floating_point(),
            f"{ENTRY}: {name} is {getattr(x, 'dtype', type(x).__name__)}, expected a floating "
            "tensor",
        )
    if not blocks:
        return x1, x2
    weights = recompute.parameters(*(branch for b in blocks for branch in (b.f, b.g)))
    return _Reversible.apply(blocks, weights, x1, x2, *weights)


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx, blocks, weights, x1, x2, *_):
        ctx.blocks, ctx.weights, ctx.states = blocks, weights, []
        ctx.dtypes = x1.dtype, x2.dtype
        for b in blocks:
            states = []
            x1, state = _added(b, b.f, x1, x2, "f")
            states.append(state)
            x2, state = _added(b, b.g, x2, x1, "g")
            ctx.states.append((*states, state))
        ctx.save_for_backward(x1, x2)
        return x1, x2

    @staticmethod
    def backward(ctx, dy1, dy2):
        # From the last block, with y1 and y2 known:
        #   x2 = y2 - g(y1),  dy1 += (dg/dy1)^T dy2,  dw_g = (dg/dw)^T dy2
        #   x1 = y1 - f(x2),  dy2 += (df/dx2)^T dy1,  dw_f = (df/dw)^T dy1
        if torch.is_grad_enabled():
            raise NotImplementedError(
                f"{ENTRY}: a second derivative is not available, its activations were not kept; "
                "compute x1 + f(x2) and x2 + g(y1) without the block"
            )
        y1, y2 = ctx.saved_tensors
        sums = {id(w): None for w in ctx.weights}
        for b, (state_f, state_g) in zip(reversed(ctx.blocks), reversed(ctx.states), strict=True):
            value, dy1 = _branch(b.g, state_g, y1, dy1, dy2, ctx.weights, sums)
            y2 = y2 - value
            value, dy2 = _branch(b.f, state_f, y2, dy2, dy1, ctx.weights, sums)
            y1 = y1 - value
        dx1, dx2 = (d.to(t) for d, t in zip((dy1, dy2), ctx.dtypes, strict=True))
        return (None, None, dx1, dx2, *sums.values())


def _added(block, branch, x, v, name):
    """x + branch(v), and the state in which branch ran."""
    state = recompute.State(v.device, block.preserve_rng_state)
    value = branch(v)
    state.drop_unused()
    require(
        value.shape == x.shape,
        f"{ENTRY}: {name} gives shape {tuple(value.shape)}, expected {tuple(x.shape)}",
    )
    return x + value, state


def _branch(branch, state, v, dv, dvalue, weights, sums):
    """The value of branch(v); dv with the branch's part added, as is each weight's in sums."""
    with torch.enable_grad(), state.again():
        v = v.detach().requires_grad_()
        value = branch(v)
        recompute.no_strangers(ENTRY, value, (v, *weights))
    if value.requires_grad:
        own = recompute.parameters(branch)
        found = torch.autograd.grad(value, (v, *own), dvalue.to(value.dtype), allow_unused=True)
        if found[0] is not None:
            dv = dv + found[0]
        for w, g in zip(own, found[1:], strict=True):
            if g is not None:
                sums[id(w)] = g if sums[id(w)] is None else sums[id(w)] + g
    return value.detach(), dv
