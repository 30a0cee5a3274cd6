"""A right rule in PyTorch, a wrong one, and the same in plain operations."""

import pytest

from bpx.verify import Float

torch = pytest.importorskip("torch")
PAIR = [Float("N", "D"), Float("D")]


def rule(backward, forward=lambda x, w: x * x * w):
    class Rule(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, w):
            return forward(x, w)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, dy):
            return backward(dy, *ctx.saved_tensors)

    return Rule


def right(dy, x, w):
    return 2 * dy * x * w, (dy * x * x).sum(0)


def wrong(dy, x, w):
    return 2.002 * dy * x * w, (dy * x * x).sum(0)


def plain(x, w):
    return x * x * w
