"""conv_sign_symmetric for PyTorch. Maths, shapes and source:
bpx/surrogate/conv_sign_symmetric.py."""

from functools import partial

from bpx.rule import Kernel
from bpx.surrogate.conv_sign_symmetric import SPEC
from bpx_torch._rule import Rule
from bpx_torch.kernels.cpu import conv as cpu
from bpx_torch.layers import conv as exact


def forward(x, weight, bias, *, scale, **options):
    return exact.forward(x, weight, bias, **options)


def backward(dy, arrays, residuals, needs, *, scale, exactly=exact.backward, **options):
    # dx = dy convolved by scale sign(weight), transposed; dweight and dbias are exact
    x, weight, _ = arrays
    return exactly(dy, (x, scale * weight.sign(), None), (), needs, **options)


def tangent(tangents, arrays, residuals, *, scale, **options):
    # dy = dx * (scale sign(weight)) + x * dweight + dbias, whose transpose backward is
    x, weight, _ = arrays
    return exact.tangent(tangents, (x, scale * weight.sign(), None), (), **options)


NATIVE = Kernel("cpu", forward, partial(backward, exactly=exact.by_core), refuses=cpu.refuses)
RULE = Rule(SPEC, (NATIVE, Kernel("plain", forward, backward, tangent)), autocast="lower")


def conv_sign_symmetric(
    x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, scale=1.0
):
    """Convolution of x (B C *S) by weight (O C/groups *W), bias (O); dx by scale sign(weight),
    sign(0) = 0. Maths: bpx/surrogate/conv_sign_symmetric.py."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return RULE(x, weight, bias, scale=scale, **options)
