"""embedding_bag for PyTorch. Maths, shapes and source: bpx/layers/embedding_bag.py."""

import torch

from bpx.layers.embedding_bag import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.layers.embedding import lookup, pick


def _parts(indices, bags, num_bags, mode, padding_idx):
    """(kept (N), outside (N), bag (N), divisor (B 1) or None): what has a part, what of it has a
    bag that is none, and its bag, num_bags for what is in none."""
    every = torch.ones_like(indices, dtype=torch.bool)
    kept = every if padding_idx is None else indices != padding_idx
    outside = (bags < 0) | (bags >= num_bags)
    bag = torch.where(kept & ~outside, bags, num_bags).long()
    if mode == "sum":
        return kept, outside & kept, bag, None
    size = torch.zeros(num_bags + 1, dtype=torch.int64, device=bag.device)
    size = size.index_add(0, bag, torch.ones_like(bag))
    return kept, outside & kept, bag, size[:num_bags].clamp(min=1).unsqueeze(-1)


def _sums(rows, indices, bags, *, num_bags, mode, padding_idx):
    """The bags' sums or means of rows (N D)."""
    kept, outside, bag, divisor = _parts(indices, bags, num_bags, mode, padding_idx)
    rows = torch.where(kept.unsqueeze(-1), rows, 0)
    y = rows.new_zeros(num_bags + 1, rows.shape[1]).index_add(0, bag, rows)[:num_bags]
    y = y if divisor is None else y / divisor
    return torch.where(outside.any(), torch.nan, y)


def _shared(rows, shares):
    wide = at_least_float32(rows)
    return wide if shares is None else wide * shares.unsqueeze(-1)


def forward(indices, weight, bags, per_sample_weights, **options):
    rows = _shared(pick(indices, weight), per_sample_weights)
    return _sums(rows, indices, bags, **options).to(weight.dtype), ()


def backward(dy, arrays, residuals, needs, *, num_bags, mode, padding_idx):
    # each[n] = dy[bags[n]] / size of the bag, 0 for what is in none
    # dweight[v] = sum of share[n] each[n] over the n with indices[n] = v
    # dshare[n] = each[n] weight[indices[n]]
    indices, weight, bags, shares = arrays
    kept, _, bag, divisor = _parts(indices, bags, num_bags, mode, padding_idx)
    dy = at_least_float32(dy)
    dy = dy if divisor is None else dy / divisor
    each = torch.cat([dy, dy.new_zeros(1, dy.shape[1])]).index_select(0, bag)
    dweight = dshare = None
    if needs[1]:
        outside, row = lookup(indices, weight)
        added = torch.where(outside, 0, _shared(each, shares))
        dweight = added.new_zeros(weight.shape).index_add(0, row, added)
    if needs[3]:
        picked = torch.where(kept.unsqueeze(-1), at_least_float32(pick(indices, weight)), 0)
        dshare = (each * picked).sum(-1)
    return None, dweight, None, dshare


def tangent(tangents, arrays, residuals, **options):
    # the sums of share[n] dweight[indices[n]] + dshare[n] weight[indices[n]]
    indices, weight, bags, shares = arrays
    _, dweight, _, dshare = tangents
    rows = 0
    if dweight is not None:
        rows = _shared(pick(indices, dweight), shares)
    if dshare is not None:
        rows = rows + _shared(pick(indices, weight), dshare)
    return _sums(rows, indices, bags, **options)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.embedding_bag"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def embedding_bag(
    indices, weight, bags, per_sample_weights=None, *, num_bags=1, mode="mean", padding_idx=None
):
    """Sums or means (num_bags D) of the rows of weight (V D) picked by indices (N, integers below
    V), each in the bag that bags (N, integers below num_bags) says; per_sample_weights (N) multiply
    the rows. What is picked by padding_idx has no part. An index out of range is an error in eager
    code on the CPU, NaN elsewhere. Maths: bpx/layers/embedding_bag.py."""
    return RULE(
        indices,
        weight,
        bags,
        per_sample_weights,
        num_bags=num_bags,
        mode=mode,
        padding_idx=padding_idx,
    )
