"""A small autograd.Function from a forward and a backward."""

from __future__ import annotations

from typing import Any

import torch


def function(forward: Any, backward: Any, tensors: int = 1, save: Any = None, **more: Any) -> Any:
    """apply of a Function over the first `tensors` arguments; the rest are options.

    backward(*dys, *saved, *options) -> one gradient per tensor. `save(*tensors, *outputs)` chooses
    what is saved, the tensors themselves without it. `more` goes into the class.
    """

    class Rule(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args):
            return forward(*args)

        @staticmethod
        def setup_context(ctx, inputs, output):
            given = inputs[:tensors]
            outs = output if isinstance(output, tuple) else (output,)
            ctx.save_for_backward(*(save(*given, *outs) if save else given))
            ctx.options = inputs[tensors:]

        @staticmethod
        def backward(ctx, *dys):
            grads = backward(*dys, *ctx.saved_tensors, *ctx.options)
            grads = grads if isinstance(grads, tuple) else (grads,)
            return (*grads, *(None for _ in ctx.options))

    for name, value in more.items():
        if value is None:
            delattr(Rule, name)
        else:
            setattr(Rule, name, value)
    return Rule.apply


def raw(t: torch.Tensor) -> torch.Tensor:
    """The storage read row by row from the first element, whatever the strides; zeros behind its
    end. What a kernel sees that was handed a pointer alone."""
    if torch._C._functorch.is_functorch_wrapped_tensor(t):
        return t
    t = t.detach()
    flat = torch.as_strided(
        t, (t.untyped_storage().nbytes() // t.element_size() - t.storage_offset(),), (1,)
    )
    found = torch.zeros(t.numel(), dtype=t.dtype)
    n = min(t.numel(), flat.numel())
    found[:n] = flat[:n]
    return found.reshape(t.shape)
