"""Gradients of the feedback-alignment study in JAX. In PyTorch: bpx_torch/study.py; the study:
bpx/demo/feedback.py."""

from functools import partial

import jax
import numpy as np

from bpx_jax import RULES
from bpx_jax.surrogate import direct_feedback_alignment, linear_feedback_alignment


def _logits(rule, layers, matrices, x):
    hidden = []
    for i, (weight, bias) in enumerate(layers):
        if rule == "direct":
            x = jax.lax.stop_gradient(x)
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


@partial(jax.jit, static_argnums=0)
def _gradients(rule, layers, matrices, x, labels):
    def loss(layers):
        return RULES["cross_entropy"](_logits(rule, layers, matrices, x), labels, None)

    return jax.grad(loss)(layers)


def gradients(rule, layers, matrices, x, labels):
    """(dweight, dbias) of every layer for the mean cross-entropy of a batch; NumPy in and out."""
    return jax.tree.map(np.asarray, _gradients(rule, layers, matrices, x, labels))


def scores(layers, x):
    """The logits of a batch."""
    return np.asarray(jax.jit(partial(_logits, "exact"))(layers, [], x))
