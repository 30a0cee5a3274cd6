"""embedding for PyTorch. Maths, shapes and source: bpx/layers/embedding.py."""

import torch

from bpx.layers.embedding import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def lookup(indices, weight):
    """(outside, row): where an index is out of range, and a flat index that never is."""
    index = (indices if indices.dtype in (torch.int32, torch.int64) else indices.long()).flatten()
    outside = (index < 0) | (index >= weight.shape[0])
    return outside.unsqueeze(-1), index.masked_fill(outside, 0)


def pick(indices, table):
    outside, row = lookup(indices, table)
    y = (
        table.index_select(0, row)
        if table.shape[0]
        else table.new_zeros((len(row), table.shape[1]))
    )
    return y.masked_fill_(outside, torch.nan).reshape(*indices.shape, table.shape[1])


def forward(indices, weight, *, padding_idx):
    y = pick(indices, weight)
    if padding_idx is not None:  # a constant to autodiff; the values are equal
        y = torch.where((indices == padding_idx).unsqueeze(-1), y.detach(), y)
    return y, ()


def backward(dy, arrays, residuals, needs, *, padding_idx):
    # dweight[v] = sum of dy[n] over the n with indices[n] = v, and 0 for v = padding_idx
    indices, weight = arrays
    outside, row = lookup(indices, weight)
    skipped = outside
    if padding_idx is not None:
        skipped = skipped | (row == padding_idx).unsqueeze(-1)
    each = at_least_float32(dy).reshape(len(row), weight.shape[1]).masked_fill(skipped, 0)
    zeros = each.new_zeros(weight.shape)
    if torch._C._are_functorch_transforms_active():  # vmap over indices alone cannot add in place
        return None, zeros.index_add(0, row, each)
    return None, zeros.index_add_(0, row, each)


def tangent(tangents, arrays, residuals, *, padding_idx):
    # dy[n] = dweight[indices[n]], and 0 where indices[n] = padding_idx
    indices, _ = arrays
    dy = pick(indices, tangents[1])
    if padding_idx is None:
        return dy
    return dy.masked_fill((indices == padding_idx).unsqueeze(-1), 0)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.embedding"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def embedding(indices, weight, *, padding_idx=None):
    """Rows (*N D) of weight (V D) picked by indices (*N, integers below V); the row padding_idx
    gets no gradient. An index out of range is an error in eager code on the CPU, a row of NaN
    elsewhere."""
    return RULE(indices, weight, padding_idx=padding_idx)
