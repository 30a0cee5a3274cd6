"""Functions in pieces, in Triton: f(x, A, B) and df(dy, kept, A, B), in float32 or more.

Maths and choices: the rows in bpx/activations. A and B are the options in their order. `kept` is
what the entry keeps: x, y or a mask. A comparison with NaN is false, and NaN has to come through.
"""

from math import factorial

import triton
import triton.language as tl
from triton.language.extra import libdevice

# of x cosh x - sinh x in x^2, after x^3: 2k / (2k + 1)!
C1, C2, C3, C4, C5, C6, C7, C8, C9 = (
    tl.constexpr(2 * k / factorial(2 * k + 1)) for k in range(1, 10)
)


@triton.jit
def clipped(x, low, high):
    return tl.where(x < low, low, tl.where(x > high, high, x))


@triton.jit
def inside(dy, x, low, high):
    return tl.where((x <= low) | (x >= high), 0.0, dy)


@triton.jit
def relu(x, A, B):
    return tl.where(x <= 0, 0.0, x)


@triton.jit
def drelu(dy, y, A, B):
    return tl.where(y <= 0, 0.0, dy)


@triton.jit
def leaky_relu_mask(x, A, B):
    return x > 0


@triton.jit
def leaky_relu(x, A, B):
    return tl.where(x > 0, x, A * x)


@triton.jit
def dleaky_relu(dy, above, A, B):
    return tl.where(above != 0, dy, A * dy)


@triton.jit
def relu6(x, A, B):
    return clipped(x, 0.0, 6.0)


@triton.jit
def drelu6(dy, y, A, B):
    return inside(dy, y, 0.0, 6.0)


@triton.jit
def hardtanh(x, A, B):
    return clipped(x, A, B)


@triton.jit
def dhardtanh(dy, x, A, B):
    return inside(dy, x, A, B)


@triton.jit
def hardsigmoid(x, A, B):
    return clipped((x + 3) / 6, 0.0, 1.0)


@triton.jit
def dhardsigmoid(dy, x, A, B):
    return inside(dy, x, -3.0, 3.0) / 6


@triton.jit
def hardswish(x, A, B):
    return tl.where(x <= -3, 0.0, tl.where(x >= 3, x, x * (x + 3) / 6))


@triton.jit
def dhardswish(dy, x, A, B):
    return tl.where(x <= -3, 0.0, tl.where(x >= 3, dy, dy * (x / 3 + 0.5)))


@triton.jit
def relu_squared(x, A, B):
    above = tl.where(x <= 0, 0.0, x)
    return above * above


@triton.jit
def drelu_squared(dy, x, A, B):
    return 2 * dy * tl.where(x <= 0, 0.0, x)


@triton.jit
def hardshrink(x, A, B):
    return tl.where(tl.abs(x) <= A, 0.0, x)


@triton.jit
def dshrink(dy, x, A, B):
    return tl.where(tl.abs(x) <= A, 0.0, dy)


@triton.jit
def softshrink(x, A, B):
    return tl.where(tl.abs(x) <= A, 0.0, tl.where(x < 0, x + A, x - A))


@triton.jit
def tanhshrink(x, A, B):
    # near 0 a series, since x - tanh(x) would cancel
    near = tl.where(tl.abs(x) < 1, x, 0.0)
    q = near * near
    s = (((((((C9 * q + C8) * q + C7) * q + C6) * q + C5) * q + C4) * q + C3) * q + C2) * q + C1
    return tl.where(tl.abs(x) < 1, near * q * s / libdevice.cosh(near), x - libdevice.tanh(x))


@triton.jit
def dtanhshrink(dy, x, A, B):
    t = libdevice.tanh(x)
    return dy * t * t


@triton.jit
def threshold_mask(x, A, B):
    return x <= A


@triton.jit
def threshold(x, A, B):
    return tl.where(x <= A, B, x)


@triton.jit
def dthreshold(dy, at_most, A, B):
    return tl.where(at_most != 0, 0.0, dy)


@triton.jit
def sparse_plus(x, A, B):
    return tl.where(x <= -1, 0.0, tl.where(x >= 1, x, (x + 1) * (x + 1) / 4))


@triton.jit
def dsparse_plus(dy, x, A, B):
    return dy * clipped(0.5 * x + 0.5, 0.0, 1.0)


@triton.jit
def sparse_sigmoid(x, A, B):
    return clipped(0.5 * x + 0.5, 0.0, 1.0)


@triton.jit
def dsparse_sigmoid(dy, x, A, B):
    return tl.where((x <= -1) | (x >= 1), 0.0, 0.5 * dy)


@triton.jit
def square(x, A, B):
    return x * x


@triton.jit
def dsquare(dy, x, A, B):
    return 2 * dy * x
