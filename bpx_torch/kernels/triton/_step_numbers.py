"""The numbers that the formulas of _step_formulas.py take, from those of a group and the count of
a step: computed in float64 on the host, once for each different count."""

from typing import Any, NamedTuple

from bpx_torch import _native_step as ns


class Numbers(NamedTuple):
    """lr and weight decay; the numbers that no count changes; what gives the others of a count.

    decoupled  whether the decay is so without the flag
    product    the entry of the state, on the host, that each step multiplies by grows(t), and that
               is given to `counted` after the count
    """

    lr: float
    decay: float
    fixed: tuple[float, ...]
    counted: Any = None
    decoupled: bool = False
    product: str | None = None
    grows: Any = None


def adam(flags, lr, b1, b2, eps, decay):
    def counted(t):
        # m / c1 / (sqrt(v / c2) + eps) = (sqrt(c2) / c1) m / (sqrt(v) + sqrt(c2) eps)
        c1, c2 = 1 - b1**t, 1 - b2**t
        if flags & ns.AMSGRAD and flags & ns.CORRECTED:  # v is divided by c2 before it is kept
            return lr / c1, eps / c2**0.5 if flags & ns.EPS_HAT else eps, c2
        return lr * c2**0.5 / c1, eps if flags & ns.EPS_HAT else eps * c2**0.5, c2

    return Numbers(lr, decay, (1 - b1, b2, 1 - b2), counted)


def sgd(flags, lr, momentum, taken, decay):
    within = flags & ns.LR_INSIDE and flags & ns.MOMENTUM
    size, scale = (-1.0, -lr) if within else (lr, 1.0)
    return Numbers(lr, decay, (size, scale, momentum, taken))


def lion(flags, lr, b1, b2, decay):
    return Numbers(lr, decay, (lr, b1, 1 - b1, 1 - b2), decoupled=True)


def rmsprop(flags, lr, rate, eps, decay, momentum):
    return Numbers(lr, decay, (lr, rate, 1 - rate, eps, momentum))


def adagrad(flags, lr, _, eps, decay, lr_decay):
    return Numbers(lr, decay, (eps,), lambda t: (lr / (1 + (t - 1) * lr_decay),))


def adadelta(flags, lr, rate, eps, decay):
    return Numbers(lr, decay, (lr, rate, 1 - rate, eps))


def adamax(flags, lr, b1, eps, decay, b2):
    inner, outer = (0.0, eps) if flags & ns.EPS_OUTSIDE else (eps, 0.0)
    return Numbers(lr, decay, (1 - b1, b2, inner, outer), lambda t: (lr / (1 - b1**t),))


def nadam(flags, lr, b1, b2, eps, decay, momentum_decay):
    def mu(t):
        return b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    def counted(t, product):
        c2, ahead = (1 - b2**t) ** 0.5, mu(t + 1)
        scale = lr * c2
        return scale * (1 - mu(t)) / (1 - product), scale * ahead / (1 - product * ahead), eps * c2

    fixed = (1 - b1, b2, 1 - b2)
    return Numbers(lr, decay, fixed, counted, product="mu_product", grows=mu)


def radam(flags, lr, b1, b2, eps, decay, corrected, inclusive):
    longest = 2 / (1 - b2) - 1

    def counted(t):
        c2 = 1 - b2**t
        length, size = longest - 2 * t * b2**t / c2, lr / (1 - b1**t)
        if length < 5 or (length == 5 and not inclusive):
            return size, eps, 0.0
        ratio = (length - 4) / (longest - 4) * ((length - 2) / (longest - 2)) * (longest / length)
        return size * (ratio * c2) ** 0.5, eps * c2**0.5 if corrected else eps, 1.0

    return Numbers(lr, decay, (1 - b1, b2, 1 - b2), counted)


def rprop(flags, lr, minus, plus, low, high, clamps):
    return Numbers(lr, 0.0, (minus, plus, low, high, clamps))
