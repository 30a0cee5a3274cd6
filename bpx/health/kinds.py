"""What a layer's values are, which decides what "dead" and "saturated" mean for them."""

from __future__ import annotations

import math

# kind -> the bounds of its values, for the kinds that saturate at them
KINDS: dict[str, tuple[float, float] | None] = {
    "": None,
    "linear": None,
    "norm": None,
    "recurrent": None,
    "relu": None,
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "loss": None,
}

# tanh and sigmoid are saturated where their derivative is under 2 % of its largest. With t the
# value brought to (-1, 1), both derivatives are 1 - t² of the largest.
EDGE = math.sqrt(1 - 0.02)

# a row of a softmax is saturated where its largest probability is beyond this
SURE = 0.99
