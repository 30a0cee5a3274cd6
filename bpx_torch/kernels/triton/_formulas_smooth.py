"""Smooth elementwise functions in Triton: f(x, A, B) and df(dy, kept, A, B), in float32 at least.

Maths and choices: the rows in bpx/activations. A and B are the options in their order. `kept` is
what the entry keeps, x or y. 1 - sigmoid(x) is written sigmoid(-x), which keeps its digits.
"""

import triton
import triton.language as tl
from triton.language.extra import libdevice

SQRT_HALF = tl.constexpr(0.7071067811865476)
SQRT_2_PI = tl.constexpr(2.5066282746310002)
TWO_SQRT_2_OVER_PI = tl.constexpr(1.5957691216057308)
CUBIC = tl.constexpr(0.044715)
FAR = tl.constexpr(30.0)  # where the slope of the tanh form's sigmoid is 0 even in float64
SELU_ALPHA = tl.constexpr(1.6732632423543772)
SELU_SCALE = tl.constexpr(1.0507009873554805)
SCALED_ALPHA = tl.constexpr(1.0507009873554805 * 1.6732632423543772)


@triton.jit
def logistic(x):
    return 1 / (1 + libdevice.exp(-x))


@triton.jit
def below(x):
    """min(x, 0): the exponential of the branch that is not taken must not overflow."""
    return tl.where(x > 0, 0.0, x)


@triton.jit
def log1p_exp(x):
    """log(1 + e^x), of which NaN stays NaN."""
    return tl.where(x < 0, 0.0, x) + libdevice.log1p(libdevice.exp(-tl.abs(x)))


@triton.jit
def sigmoid(x, A, B):
    return logistic(x)


@triton.jit
def dsigmoid(dy, x, A, B):
    return dy * logistic(x) * logistic(-x)


@triton.jit
def tanh(x, A, B):
    return libdevice.tanh(x)


@triton.jit
def dtanh(dy, x, A, B):
    # 1 - tanh(x)^2 = 4 sigmoid(2x) sigmoid(-2x)
    return 4 * dy * logistic(2 * x) * logistic(-2 * x)


@triton.jit
def softplus(x, A, B):
    return tl.where(A * x > B, x, log1p_exp(A * x) / A)


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
    return dy * logistic(x) * (1 + x * logistic(-x))


@triton.jit
def mish(x, A, B):
    # With s = sigmoid(x), q = 1 - s: tanh(log(1 + e^x)) = (1 - q^2) / (1 + q^2) and 1 - q = s
    q = logistic(-x)
    return x * logistic(x) * (1 + q) / (1 + q * q)


@triton.jit
def dmish(dy, x, A, B):
    # The tanh itself, plus x times its derivative 4 s q^2 / (1 + q^2)^2
    q = logistic(-x)
    d = 1 + q * q
    return dy * logistic(x) * ((1 + q) / d + 4 * (q / d) * (q / d) * x)


@triton.jit
def gelu(x, A, B):
    return 0.5 * x * libdevice.erfc(-SQRT_HALF * x)


@triton.jit
def dgelu(dy, x, A, B):
    # Phi(x) + x phi(x)
    density = libdevice.exp(-0.5 * x * x) / SQRT_2_PI
    return dy * (0.5 * libdevice.erfc(-SQRT_HALF * x) + x * density)


@triton.jit
def gelu_tanh(x, A, B):
    return x * logistic(TWO_SQRT_2_OVER_PI * (x + CUBIC * x * x * x))


@triton.jit
def dgelu_tanh(dy, x, A, B):
    # s + x s (1 - s) u', with u the argument of the sigmoid
    u = TWO_SQRT_2_OVER_PI * (x + CUBIC * x * x * x)
    near = tl.where(x < -FAR, -FAR, tl.where(x > FAR, FAR, x))
    du = TWO_SQRT_2_OVER_PI * (1 + 3 * CUBIC * near * near)
    return dy * logistic(u) * (1 + near * logistic(-u) * du)


@triton.jit
def softsign(x, A, B):
    return x / (1 + tl.abs(x))


@triton.jit
def dsoftsign(dy, x, A, B):
    d = 1 + tl.abs(x)
    return dy / d / d


@triton.jit
def arctan(x, A, B):
    return libdevice.atan(x)


@triton.jit
def darctan(dy, x, A, B):
    return dy / (1 + x * x)


@triton.jit
def elu(x, A, B):
    return tl.where(x > 0, x, A * libdevice.expm1(below(x)))


@triton.jit
def delu(dy, x, A, B):
    return tl.where(x > 0, dy, dy * A * libdevice.exp(below(x)))


@triton.jit
def selu(x, A, B):
    return tl.where(x > 0, SELU_SCALE * x, SCALED_ALPHA * libdevice.expm1(below(x)))


@triton.jit
def dselu(dy, x, A, B):
    return tl.where(x > 0, SELU_SCALE * dy, dy * SCALED_ALPHA * libdevice.exp(below(x)))


@triton.jit
def celu(x, A, B):
    return tl.where(x > 0, x, A * libdevice.expm1(below(x) / A))


@triton.jit
def dcelu(dy, x, A, B):
    return tl.where(x > 0, dy, dy * libdevice.exp(below(x) / A))


@triton.jit
def squareplus(x, A, B):
    # below 0 it is b / (2 (r - x)), without a difference; r by hypot: x * x would overflow
    root = libdevice.hypot(x, tl.where(x == x, A, x))
    under = 0.25 * A * A / (0.5 * root - 0.5 * below(x))
    return tl.where(x < 0, under, 0.5 * x + 0.5 * root)


@triton.jit
def dsquareplus(dy, x, A, B):
    # (1 + x / r) / 2; below 0 it is b / (2 r (r - x))
    root = libdevice.hypot(x, tl.where(x == x, A, x))
    under = A * A / (2 * root) / (root - below(x))
    return dy * tl.where(x < 0, under, 0.5 + 0.5 * (x / root))


@triton.jit
def exp(x, A, B):
    return libdevice.exp(x)


@triton.jit
def dexp(dy, y, A, B):
    return dy * y


@triton.jit
def sin(x, A, B):
    return libdevice.sin(x)


@triton.jit
def dsin(dy, x, A, B):
    return dy * libdevice.cos(x)


@triton.jit
def cos(x, A, B):
    return libdevice.cos(x)


@triton.jit
def dcos(dy, x, A, B):
    return dy * -libdevice.sin(x)
