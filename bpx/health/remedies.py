"""What to try first, by fault and by the kind of layer it was found in."""

from __future__ import annotations

MEANING = {
    "healthy": "activations, gradients and updates are of ordinary size",
    "symmetric": "units are copies of each other and stay so",
    "dead": "units give zero whatever they are given, and no gradient passes them",
    "saturated": "values lie where the activation is flat, and little gradient passes them",
    "exploding": "signals grow from layer to layer",
    "vanishing": "hardly any gradient arrives at the first layers",
    "non-finite": "a NaN or an infinity has been made",
    "learning rate too high": "updates are nearly as large as the weights",
    "learning rate too low": "updates are too small to change the weights",
}

_REMEDY = {
    "healthy": "nothing to change",
    "symmetric": "initialise the weights at random (He for ReLU, Xavier for tanh and sigmoid); "
    "zero is for biases",
    "dead": "start biases at 0 and weights by He; then a lower learning rate, or leaky ReLU, "
    "which has a gradient below zero",
    "saturated": "make the weights before it smaller (Xavier), or put a norm layer before it",
    "exploding": "a norm layer between the layers, or a start by He (ReLU) or Xavier (tanh); then "
    "clip the gradient's global norm",
    "vanishing": "ReLU with a start by He in place of sigmoid or tanh, or Xavier where tanh stays;"
    " then norm layers and residual connections",
    "non-finite": "look at that layer for a log or a division at 0, a root at 0, or an exp of "
    "large values",
    "learning rate too high": "divide the learning rate by ten, or warm it up; clipping the global "
    "norm also bounds a step of SGD",
    "learning rate too low": "multiply the learning rate by ten until an update is about 0.001 of "
    "the weights",
}

# where the kind of the layer narrows the choice
_BY_KIND = {
    ("saturated", "softmax"): "divide the logits: smaller weights before the softmax, 1/sqrt(d) in "
    "attention, or a temperature",
    (
        "exploding",
        "recurrent",
    ): "clip the gradient's global norm (1.0 is usual); then an orthogonal "
    "start of the recurrent weights, or LSTM or GRU",
    ("vanishing", "recurrent"): "LSTM or GRU with the forget gate's bias at 1, or an orthogonal "
    "start of the recurrent weights",
}

# by the phase in which the value was made
_NONFINITE = {
    "forward": "bound what goes in: subtract the largest value before an exp, use the loss that "
    "takes logits, add an epsilon inside a log, a root or a division",
    "backward": "a log, a root or a division at 0 has a finite value and an infinite slope: use "
    "the loss that takes logits, or add an epsilon inside",
    "parameter": "lower the learning rate and clip the gradient's global norm",
    "gradient": "clip the gradient's global norm, and with half precision scale the loss",
    "update": "lower the learning rate; look at the optimizer's epsilon",
}


def remedy(fault: str, kind: str = "", phase: str = "") -> str:
    """The remedy to try first, one line."""
    if fault == "non-finite":
        return _NONFINITE[phase]
    return _BY_KIND.get((fault, kind), _REMEDY[fault])
