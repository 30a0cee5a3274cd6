"""direct_feedback_alignment for JAX. Maths, shapes and source:
bpx/surrogate/direct_feedback_alignment.py."""

import jax
import jax.numpy as jnp

from bpx.rule import Kernel
from bpx.surrogate.direct_feedback_alignment import SPEC
from bpx_jax._rule import Rule


def forward(x, h, feedback):
    return x, ()


def backward(dy, arrays, residuals, needs):
    # dx = dy,  dh = dy feedback,  dfeedback = 0
    _, _, feedback = arrays
    dh = jax.lax.dot_general(dy, feedback, (((dy.ndim - 1,), (0,)), ((), ())))
    return dy, dh, jnp.zeros_like(feedback)


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def direct_feedback_alignment(x, h, feedback):
    """x (*N O) as it is, the output of a network; the hidden layer h (*N H) gets the gradient
    dy feedback, with feedback (O H). Maths: bpx/surrogate/direct_feedback_alignment.py."""
    return RULE(x, h, feedback)
