"""linear_sign_symmetric for JAX. Maths, shapes and source:
bpx/surrogate/linear_sign_symmetric.py."""

import jax.numpy as jnp

from bpx.rule import Kernel
from bpx.surrogate.linear_sign_symmetric import SPEC
from bpx_jax._rule import Rule
from bpx_jax.layers import linear as exact


def forward(x, weight, bias, *, scale):
    return exact.forward(x, weight, bias)


def backward(dy, arrays, residuals, needs, *, scale):
    # dx = dy (scale sign(weight)),  dweight = dy^T x,  dbias = sum(dy)
    x, weight, _ = arrays
    return exact.backward(dy, (x, scale * jnp.sign(weight), None), (), needs)


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def linear_sign_symmetric(x, weight, bias=None, *, scale=1.0):
    """x weight^T + bias; x (*N I), weight (O I), bias (O). dx = scale dy sign(weight), sign(0) = 0.
    Maths: bpx/surrogate/linear_sign_symmetric.py."""
    return RULE(x, weight, bias, scale=scale)
