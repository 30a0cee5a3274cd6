"""Where a kernel that hides its arithmetic from torch cannot run."""

import math

import torch
from torch.autograd import forward_ad


def refuses(arrays):
    """None, or why a kernel that reads its arrays by pointer cannot run this call."""
    if torch.compiler.is_compiling():
        return "inside torch.compile, where the plain rule is fused"
    if torch._C._are_functorch_transforms_active():
        return "inside a torch.func transform"
    if torch._C._len_torch_dispatch_stack() or torch._C._get_tracing_state() is not None:
        return "inside a tracing or dispatch mode"
    if forward_ad._current_level >= 0:
        return "inside forward-mode AD"
    for a in arrays:
        if a is not None and type(a) not in (torch.Tensor, torch.nn.Parameter):
            return f"an argument is a {type(a).__name__}"
    return None


def readable(a):
    """Contiguous, with every pending operation done: what a pointer may be taken of."""
    return (a.clone() if a._is_zerotensor() else a.resolve_neg()).contiguous()


def sharing_last(x, broadcast_dims):
    """(x with the dims that share a decision last, how many elements share one, the function that
    puts a result's dims where they were)."""
    shared = sorted({d % x.ndim for d in broadcast_dims}) if broadcast_dims else []
    own = [d for d in range(x.ndim) if d not in shared]
    each = math.prod(x.shape[d] for d in shared)
    if own == list(range(len(own))):
        return x, each, lambda y: y
    places = [*own, *shared]
    return x.permute(places), each, lambda y: y.permute([places.index(d) for d in range(y.ndim)])
