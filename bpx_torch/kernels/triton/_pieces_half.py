"""What the formulas for 16 bits are made of, in float32: exponentials, reciprocals, polynomials.

An exponential is one instruction of a GPU (exp2, relative error 2^-22), a reciprocal another
(2^-23); what is below 2^-126 becomes 0. The polynomials are those of least relative error, fitted
by a linear program over 1,500 Chebyshev points; beside each, the error of its value in float32.
"""

import triton
import triton.language as tl
from triton.language.extra import libdevice

LOG2E = tl.constexpr(1.4426950408889634)
SMALL = tl.constexpr(0.3)  # up to where expm1 is a polynomial
BEND = tl.constexpr(0.3)  # of w in `tail`

# log(1 + t) / t, 0 <= t <= 1: 2^-21.5
L0, L1, L2, L3 = map(tl.constexpr, (0.999999821, -0.499974042, 0.332754821, -0.24495472))
L4, L5, L6, L7 = map(tl.constexpr, (0.177452669, -0.107682079, 0.0440899022, -0.00853928737))
# tanh(x) / x in x^2, |x| <= 0.4: 2^-22.7
T0, T1, T2, T3 = map(tl.constexpr, (0.999999881, -0.333313614, 0.132709771, -0.0475535952))
# (x - tanh(x)) / x^3 in x^2, |x| <= 1: 2^-22.5
S0, S1, S2, S3 = map(tl.constexpr, (0.333333313, -0.133331284, 0.0539348274, -0.0216602832))
S4, S5, S6 = map(tl.constexpr, (0.00821924396, -0.00251074508, 0.00042079066))
# (e^x - 1) / x - 1, over x, |x| <= 0.3: 2^-21.7 of e^x - 1
E1, E2, E3, E4 = map(tl.constexpr, (0.499996483, 0.166668177, 0.0418228693, 0.00833332632))
# arctan(x) / x in x^2, |x| <= 1: 2^-22.4
A0, A1, A2, A3 = map(tl.constexpr, (0.999999881, -0.333319902, 0.199697241, -0.140194803))
A4, A5, A6, A7 = map(tl.constexpr, (0.099142924, -0.0594863929, 0.0242524035, -0.00469327671))
# e^(a^2/2) Phi(-a) / w in w = 1 / (1 + 0.3 a), 0 <= a <= 13.3 and Phi(-a) >= 2^-126: 2^-21.8
P0, P1, P2, P3 = map(tl.constexpr, (0.119625166, 0.120816879, 0.0995231345, 0.129843205))
P4, P5, P6, P7 = map(tl.constexpr, (-0.056095548, 0.208964273, -0.158713445, 0.0360362679))


@triton.jit
def over(d):
    """1 / d, 0 where that is below 2^-126."""
    return libdevice.fast_dividef(1.0, d)


@triton.jit
def e_to(x):
    return libdevice.exp2(LOG2E * x)


@triton.jit
def logistic(x):
    return over(1 + e_to(-x))


@triton.jit
def halves(u):
    """(sigmoid(u), sigmoid(-u)) from one exponential: 1 - sigmoid(u) would lose digits of the
    second."""
    t = e_to(-tl.abs(u))
    r = over(1 + t)
    return tl.where(u < 0, t, 1.0) * r, tl.where(u < 0, 1.0, t) * r


@triton.jit
def slope(u):
    """sigmoid(u) sigmoid(-u), even in u."""
    t = e_to(-tl.abs(u))
    r = over(1 + t)
    return t * r * r


@triton.jit
def log1p_exp(x):
    """log(1 + e^x), of which NaN stays NaN."""
    t = e_to(-tl.abs(x))
    p = ((((((L7 * t + L6) * t + L5) * t + L4) * t + L3) * t + L2) * t + L1) * t + L0
    return tl.maximum(x, 0.0) + t * p


@triton.jit
def expm1(x):
    p = x * ((((E4 * x + E3) * x + E2) * x + E1) * x + 1)
    return tl.where(tl.abs(x) < SMALL, p, e_to(x) - 1)


@triton.jit
def tail(x):
    """(Phi(-|x|), e^(-x^2/2)): one exponential is shared, in the manner of Abramowitz and Stegun
    7.1.26."""
    e = libdevice.exp2(-0.5 * LOG2E * (x * x))
    w = over(1 + BEND * tl.abs(x))
    p = ((((((P7 * w + P6) * w + P5) * w + P4) * w + P3) * w + P2) * w + P1) * w + P0
    return e * (w * p), e


@triton.jit
def near_tanh(x):
    """tanh(x) for |x| <= 0.4."""
    q = x * x
    return x * (((T3 * q + T2) * q + T1) * q + T0)


@triton.jit
def near_shrunk(x):
    """x - tanh(x) for |x| <= 1."""
    q = x * x
    p = (((((S6 * q + S5) * q + S4) * q + S3) * q + S2) * q + S1) * q + S0
    return x * q * p


@triton.jit
def near_arctan(x):
    """arctan(x) for |x| <= 1."""
    q = x * x
    p = ((((((A7 * q + A6) * q + A5) * q + A4) * q + A3) * q + A2) * q + A1) * q + A0
    return x * p
