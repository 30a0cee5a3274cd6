"""Gradients of the feedback-alignment study in PyTorch. In JAX: bpx_jax/study.py; the study:
bpx/demo/feedback.py."""

import torch

from bpx_torch import RULES
from bpx_torch.surrogate import direct_feedback_alignment, linear_feedback_alignment


def _logits(rule, layers, matrices, x):
    hidden = []
    for i, (weight, bias) in enumerate(layers):
        if rule == "direct":
            x = x.detach()
        if rule == "feedback" and i:
            x = linear_feedback_alignment(x, weight, matrices[i - 1], bias)
        else:
            x = RULES["linear"](x, weight, bias)
        if i < len(layers) - 1:
            x = RULES["tanh"](x)
            hidden.append(x)
    if rule == "direct":
        for h, feedback in zip(hidden, matrices, strict=True):
            x = direct_feedback_alignment(x, h, feedback)
    return x


def gradients(rule, layers, matrices, x, labels):
    """(dweight, dbias) of every layer for the mean cross-entropy of a batch; NumPy in and out."""
    given = [tuple(torch.tensor(a).requires_grad_() for a in layer) for layer in layers]
    fixed = [torch.tensor(m) for m in matrices]
    logits = _logits(rule, given, fixed, torch.tensor(x))
    RULES["cross_entropy"](logits, torch.tensor(labels), None).backward()
    return [tuple(a.grad.numpy() for a in layer) for layer in given]


def scores(layers, x):
    """The logits of a batch."""
    given = [tuple(torch.tensor(a) for a in layer) for layer in layers]
    with torch.no_grad():
        return _logits("exact", given, [], torch.tensor(x)).numpy()
