"""conv_feedback_alignment for JAX. Maths, shapes and source:
bpx/surrogate/conv_feedback_alignment.py."""

import jax.numpy as jnp

from bpx.rule import Kernel
from bpx.surrogate.conv_feedback_alignment import SPEC
from bpx_jax._rule import Rule
from bpx_jax.layers import conv as exact


def forward(x, weight, feedback, bias, **options):
    return exact.forward(x, weight, bias, **options)


def backward(dy, arrays, residuals, needs, **options):
    # dx = dy convolved by feedback, transposed; dweight and dbias, which need no weight, are exact
    x, _, feedback, _ = arrays
    asked = needs[0], needs[1], needs[3]
    dx, dweight, dbias = exact.backward(dy, (x, feedback, None), (), asked, **options)
    return dx, dweight, jnp.zeros_like(feedback), dbias


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def conv_feedback_alignment(
    x, weight, feedback, bias=None, *, stride=1, padding=0, dilation=1, groups=1
):
    """Convolution of x (B C *S) by weight (O C/groups *W), bias (O); dx by feedback, of weight's
    shape and with gradient 0. Maths: bpx/surrogate/conv_feedback_alignment.py."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return RULE(x, weight, feedback, bias, **options)
