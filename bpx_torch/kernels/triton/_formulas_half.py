"""Formulas with few instructions for float16 and bfloat16, in float32: f(x, A, B), df(dy, x, A, B).

A GPU reads and writes 16 bits faster than it computes CUDA's own erfc, expm1 or log1p, or divides
in full, so these are for what is rounded to 11 bits or fewer. Their relative errors are some 2^-20,
in the tails too. Maths and choices: the rows in bpx/activations. A and B are 0, infinite, or lie
between 2^-40 and 2^40: where they do not, the full formulas run.
"""

import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch.kernels.triton._formulas_smooth import (
    CUBIC,
    FAR,
    SCALED_ALPHA,
    SELU_SCALE,
    SQRT_2_PI,
    TWO_SQRT_2_OVER_PI,
)
from bpx_torch.kernels.triton._pieces_half import (
    e_to,
    expm1,
    halves,
    log1p_exp,
    logistic,
    near_arctan,
    near_shrunk,
    near_tanh,
    over,
    slope,
    tail,
)

HALF_PI = tl.constexpr(1.5707963267948966)
DENSITY = tl.constexpr(1 / SQRT_2_PI.value)
HUGE = tl.constexpr(2.0**60)  # from where x^2 + b is x^2


@triton.jit
def sigmoid(x, A, B):
    return logistic(x)


@triton.jit
def dsigmoid(dy, x, A, B):
    return dy * slope(x)


@triton.jit
def tanh(x, A, B):
    return tl.where(tl.abs(x) < 0.4, near_tanh(x), 1 - 2 * over(1 + e_to(2 * x)))


@triton.jit
def dtanh(dy, x, A, B):
    # 1 - tanh(x)^2 = 4 sigmoid(2x) sigmoid(-2x)
    return 4 * dy * slope(2 * x)


@triton.jit
def softplus(x, A, B):
    return tl.where(A * x > B, x, log1p_exp(A * x) * (1 / A))


@triton.jit
def dsoftplus(dy, x, A, B):
    return tl.where(A * x > B, dy, dy * logistic(A * x))


@triton.jit
def log_sigmoid(x, A, B):
    return -log1p_exp(-x)


@triton.jit
def dlog_sigmoid(dy, x, A, B):
    return dy * logistic(-x)


@triton.jit
def silu(x, A, B):
    return x * logistic(x)


@triton.jit
def dsilu(dy, x, A, B):
    # s + x s', with s' = s (1 - s)
    s, q = halves(x)
    return dy * s * (1 + x * q)


@triton.jit
def mish(x, A, B):
    # With s = sigmoid(x), q = 1 - s: tanh(log(1 + e^x)) = s (1 + q) / (1 + q^2)
    s = logistic(x)
    q = 1 - s
    return x * s * ((1 + q) * over(1 + q * q))


@triton.jit
def dmish(dy, x, A, B):
    # The tanh itself, plus x times its derivative 4 s q^2 / (1 + q^2)^2
    s, q = halves(x)
    r = over(1 + q * q)
    g = q * r
    return dy * s * ((1 + q) * r + 4 * g * (g * x))


@triton.jit
def gelu(x, A, B):
    under, _ = tail(x)
    return x * tl.where(x < 0, under, 1 - under)


@triton.jit
def dgelu(dy, x, A, B):
    # Phi(x) + x phi(x)
    under, e = tail(x)
    return dy * (tl.where(x < 0, under, 1 - under) + x * (DENSITY * e))


@triton.jit
def gelu_tanh(x, A, B):
    return x * logistic(x * (TWO_SQRT_2_OVER_PI + TWO_SQRT_2_OVER_PI * CUBIC * (x * x)))


@triton.jit
def dgelu_tanh(dy, x, A, B):
    # s + x s (1 - s) u', with u the argument of the sigmoid
    u = x * (TWO_SQRT_2_OVER_PI + TWO_SQRT_2_OVER_PI * CUBIC * (x * x))
    s, q = halves(u)
    near = tl.minimum(tl.maximum(x, -FAR), FAR)
    du = TWO_SQRT_2_OVER_PI + 3 * CUBIC * TWO_SQRT_2_OVER_PI * (near * near)
    return dy * s * (1 + near * q * du)


@triton.jit
def arctan(x, A, B):
    far = tl.abs(x) > 1
    y = near_arctan(tl.where(far, over(x), x))
    return tl.where(far, libdevice.copysign(HALF_PI, x) - y, y)


@triton.jit
def darctan(dy, x, A, B):
    return dy * over(1 + x * x)


@triton.jit
def elu(x, A, B):
    return tl.where(x > 0, x, A * expm1(x))


@triton.jit
def delu(dy, x, A, B):
    return dy * tl.where(x > 0, 1.0, A * e_to(x))


@triton.jit
def selu(x, A, B):
    return tl.where(x > 0, SELU_SCALE * x, SCALED_ALPHA * expm1(x))


@triton.jit
def dselu(dy, x, A, B):
    return dy * tl.where(x > 0, SELU_SCALE, SCALED_ALPHA * e_to(x))


@triton.jit
def celu(x, A, B):
    return tl.where(x > 0, x, A * expm1(x * (1 / A)))


@triton.jit
def dcelu(dy, x, A, B):
    return dy * tl.where(x > 0, 1.0, e_to(x * (1 / A)))


@triton.jit
def squareplus(x, A, B):
    # below 0 it is b / (2 (r - x)), without a difference
    far = tl.abs(x)
    root = tl.where(far > HUGE, far, tl.sqrt(x * x + A * A))
    scale = 2 / (A * A)
    return tl.where(x < 0, over(scale * root + scale * far), 0.5 * x + 0.5 * root)


@triton.jit
def dsquareplus(dy, x, A, B):
    # (1 + x / r) / 2; below 0 it is b / (2 r (r - x))
    far = tl.abs(x)
    square = x * x + A * A
    inverse = libdevice.rsqrt(square)
    root = tl.where(far > HUGE, far, square * inverse)
    scale = 2 / (A * A)
    under = over(scale * root + scale * far) * inverse
    share = tl.where(far > HUGE, 1 + 0 * x, x * inverse)  # NaN at infinity
    return dy * tl.where(x < 0, under, 0.5 + 0.5 * share)


@triton.jit
def tanhshrink(x, A, B):
    return tl.where(tl.abs(x) < 1, near_shrunk(x), (x - 1) + 2 * over(1 + e_to(2 * x)))


@triton.jit
def dtanhshrink(dy, x, A, B):
    t = tanh(x, A, B)
    return dy * t * t
