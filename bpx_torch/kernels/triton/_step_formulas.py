"""What a step does to one element, for each optimizer. Maths and sources: bpx/optimizers.

    f(w, g, s0, s1, s2, a0, a1, a2, b0, b1, b2, b3, b4, FLAGS) -> (w, s0, s1, s2)

w is the parameter, g the gradient to step along, s the state by the places of `_native`, a the
numbers that depend on the step's count and b those that do not, in the order of _step_numbers.py.
What an optimizer has not comes back as it went in.
"""

import triton
import triton.language as tl

from bpx_torch import _native_step as ns

NESTEROV, LR_INSIDE = tl.constexpr(ns.NESTEROV), tl.constexpr(ns.LR_INSIDE)
EPS_INSIDE, AMSGRAD = tl.constexpr(ns.EPS_INSIDE), tl.constexpr(ns.AMSGRAD)
CORRECTED, CENTERED = tl.constexpr(ns.CORRECTED), tl.constexpr(ns.CENTERED)
MOMENTUM = tl.constexpr(ns.MOMENTUM)


@triton.jit
def divided(x, y):
    """x / y, rounded once: the plain division of float32 is a few ulp off."""
    if x.dtype == tl.float32:
        return tl.div_rn(x, y)
    else:
        return x / y


@triton.jit
def root(x):
    """The square root, rounded once; the plain one of float32 takes subnormal numbers for 0."""
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


@triton.jit
def no_less(x, y):
    """The larger one; a NaN on either side stays."""
    return tl.where((x > y) | (x != x), x, y)


@triton.jit
def adam(w, g, m, v, v_max, size, eps, c2, rest1, rate2, rest2, b3, b4, FLAGS: tl.constexpr):
    m += rest1 * (g - m)
    v = rate2 * v + rest2 * (g * g)
    square = v
    if FLAGS & AMSGRAD:
        if FLAGS & CORRECTED:
            square = divided(square, c2)
        v_max = no_less(square, v_max)
        square = v_max
    return w - divided(size * m, root(square) + eps), m, v, v_max


@triton.jit
def sgd(w, g, buf, s1, s2, a0, a1, a2, size, scale, rate, taken, b4, FLAGS: tl.constexpr):
    g *= scale
    if FLAGS & MOMENTUM:
        buf = rate * buf + taken * g
        if FLAGS & NESTEROV:
            g += rate * buf
        else:
            g = buf
    return w - size * g, buf, s1, s2


@triton.jit
def lion(w, g, m, s1, s2, a0, a1, a2, lr, rate1, rest1, rest2, b4, FLAGS: tl.constexpr):
    blend = rate1 * m + rest1 * g
    # the sign; a NaN stays
    direction = tl.where(blend > 0, 1.0, tl.where(blend < 0, -1.0, blend))
    return w - lr * direction, m + rest2 * (g - m), s1, s2


@triton.jit
def rmsprop(w, g, v, mean, buf, a0, a1, a2, lr, rate, rest, eps, along, FLAGS: tl.constexpr):
    v = rate * v + rest * (g * g)
    variance = v
    if FLAGS & CENTERED:
        mean += rest * (g - mean)
        variance -= mean * mean
        variance = tl.where(variance < 0, 0.0, variance)  # of rounding; a NaN stays
    if FLAGS & EPS_INSIDE:
        scale = root(variance + eps)
    else:
        scale = root(variance) + eps
    if FLAGS & MOMENTUM:
        if FLAGS & LR_INSIDE:  # the buffer holds steps
            buf = along * buf - divided(lr * g, scale)
            w += buf
        else:
            buf = along * buf + divided(g, scale)
            w -= lr * buf
    else:
        w -= divided(lr * g, scale)
    return w, v, mean, buf


@triton.jit
def adagrad(w, g, total, s1, s2, size, a1, a2, eps, b1, b2, b3, b4, FLAGS: tl.constexpr):
    total += g * g
    if FLAGS & EPS_INSIDE:
        # an element that had no gradient yet stays where it is, even with eps = 0
        step = tl.where(total <= 0, 0.0, divided(size * g, root(total + eps)))
    else:
        step = divided(size * g, root(total) + eps)
    return w - step, total, s1, s2


@triton.jit
def adadelta(w, g, v, u, s2, a0, a1, a2, lr, rate, rest, eps, b4, FLAGS: tl.constexpr):
    v = rate * v + rest * (g * g)
    d = root(divided(u + eps, v + eps)) * g
    return w - lr * d, v, rate * u + rest * (d * d), s2


@triton.jit
def adamax(w, g, m, u, s2, size, a1, a2, rest1, rate2, inner, outer, b4, FLAGS: tl.constexpr):
    m += rest1 * (g - m)
    u = no_less(tl.abs(g) + inner, rate2 * u)
    return w - divided(size * m, u + outer), m, u, s2


@triton.jit
def nadam(w, g, m, v, s2, now, ahead, eps, rest1, rate2, rest2, b3, b4, FLAGS: tl.constexpr):
    m += rest1 * (g - m)
    v = rate2 * v + rest2 * (g * g)
    return w - divided(now * g + ahead * m, root(v) + eps), m, v, s2


@triton.jit
def radam(w, g, m, v, s2, size, eps, scaled, rest1, rate2, rest2, b3, b4, FLAGS: tl.constexpr):
    m += rest1 * (g - m)
    v = rate2 * v + rest2 * (g * g)
    direction = tl.where(scaled > 0, divided(m, root(v) + eps), m)
    return w - size * direction, m, v, s2


@triton.jit
def sign(x):
    """-1, 0 or 1 in the type of x."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def rprop(w, g, prev, size, s2, a0, a1, a2, minus, plus, low, high, clamps, FLAGS: tl.constexpr):
    turn = sign(g) * sign(prev)
    factor = tl.where(turn < 0, minus, tl.where(turn > 0, plus, 1.0))
    new = size * factor
    new = tl.where(new > high, high, tl.where(new < low, low, new))
    size = tl.where(clamps > 0, new, tl.where(turn == 0, size, new))
    g = tl.where(turn < 0, 0.0, g)
    return w - sign(g) * size, g, size, s2
