"""Gradients that forward took at dy = 1 and kept, made those of backward's dy."""

import torch

from bpx_torch.kernels import _opaque


def free(a, dy):
    """Whether `a` may be written over: autograd frees the graph after this backward, so that no
    other one will read it. torch says it in a private place; where it does not, the graph may
    stay."""
    keeps = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    ends = keeps is not None and not keeps()
    return ends and _opaque.refuses((a, dy)) is None and a.numel() > 0


LARGE = 1 << 18  # elements from which a second array is more than the question


def times(a, dy):
    """a dy of one number dy on the CPU: over a large `a` itself where it is the last use of it."""
    if a.numel() < LARGE or not free(a, dy):
        return a * dy
    if dy != 1:  # most losses are the root of their graph: then nothing is read or written
        a.mul_(dy)
    return a.detach()  # a tensor of its own: autograd takes it as a gradient without a copy
