"""torch's usual formulation of the linear recurrence, a loop, for bpx_torch/oracles.py."""

import torch


def _linear_recurrence(a, b, h0=None, *, reverse=False):
    h = torch.zeros_like(a.sum(-2)) if h0 is None else h0
    steps = list(range(a.shape[-2]))
    found = {}
    for t in steps[::-1] if reverse else steps:
        h = found[t] = a[..., t, :] * h + b[..., t, :]
    if not steps:
        return a * b + h.unsqueeze(-2)
    return torch.stack([found[t] for t in steps], -2)


ORACLES = {"linear_recurrence": _linear_recurrence}
DIFFERS: dict[str, dict[str, str]] = {}
