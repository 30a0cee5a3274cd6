"""linear_sign_symmetric for PyTorch. Maths, shapes and source:
bpx/surrogate/linear_sign_symmetric.py."""

from bpx.rule import Kernel
from bpx.surrogate.linear_sign_symmetric import SPEC
from bpx_torch._rule import Rule
from bpx_torch.layers import linear as exact


def forward(x, weight, bias, *, scale):
    return exact.forward(x, weight, bias)


def backward(dy, arrays, residuals, needs, *, scale):
    # dx = dy (scale sign(weight)),  dweight = dy^T x,  dbias = sum(dy)
    x, weight, _ = arrays
    return exact.backward(dy, (x, scale * weight.sign(), None), (), needs)


def tangent(tangents, arrays, residuals, *, scale):
    # dy = dx (scale sign(weight))^T + x dweight^T + dbias, whose transpose backward is
    x, weight, _ = arrays
    return exact.tangent(tangents, (x, scale * weight.sign(), None), ())


RULE = Rule(SPEC, (Kernel("plain", forward, backward, tangent),), autocast="lower")


def linear_sign_symmetric(x, weight, bias=None, *, scale=1.0):
    """x weight^T + bias; x (*N I), weight (O I), bias (O). dx = scale dy sign(weight), sign(0) = 0.
    Maths: bpx/surrogate/linear_sign_symmetric.py."""
    return RULE(x, weight, bias, scale=scale)
