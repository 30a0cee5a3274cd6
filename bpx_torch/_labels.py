"""Rows picked by class labels, for the torch rules of losses with labels."""

import torch


def labels(target, classes, weight, ignore_index, dtype):
    """(ignored, outside, label, wy): where the row is ignored, where its label is out of range, an
    index that is always in range, and the weight of the row's label: 0 where ignored, NaN where out
    of range."""
    target = target.long()  # torch compares uint8 with -100 as with 156, and with 300 as with 44
    ignored = torch.zeros_like(target, dtype=torch.bool)
    if ignore_index is not None:
        ignored = target == ignore_index
    outside = ((target < 0) | (target >= classes)) & ~ignored
    label = torch.where(outside | ignored, 0, target)
    wy = torch.ones_like(label, dtype=dtype) if weight is None else weight[label]
    return ignored, outside, label, wy.masked_fill(outside, torch.nan).masked_fill(ignored, 0.0)


def at(x, label):
    return x.gather(-1, label.unsqueeze(-1)).squeeze(-1)


def over_labels(total, wy):
    """total / sum(wy), and 0 where the weights sum to 0."""
    count = wy.sum()
    empty = count == 0
    return torch.where(empty, 0.0, total / torch.where(empty, 1.0, count))
