"""conv_sign_symmetric for JAX. Maths, shapes and source:
bpx/surrogate/conv_sign_symmetric.py."""

import jax.numpy as jnp

from bpx.rule import Kernel
from bpx.surrogate.conv_sign_symmetric import SPEC
from bpx_jax._rule import Rule
from bpx_jax.layers import conv as exact


def forward(x, weight, bias, *, scale, **options):
    return exact.forward(x, weight, bias, **options)


def backward(dy, arrays, residuals, needs, *, scale, **options):
    # dx = dy convolved by scale sign(weight), transposed; dweight and dbias are exact
    x, weight, _ = arrays
    return exact.backward(dy, (x, scale * jnp.sign(weight), None), (), needs, **options)


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def conv_sign_symmetric(
    x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, scale=1.0
):
    """Convolution of x (B C *S) by weight (O C/groups *W), bias (O); dx by scale sign(weight),
    sign(0) = 0. Maths: bpx/surrogate/conv_sign_symmetric.py."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return RULE(x, weight, bias, scale=scale, **options)
