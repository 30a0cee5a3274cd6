"""Cosine annealing, with and without restarts."""

from __future__ import annotations

import math

from bpx.limits import above_zero, count, finite
from bpx.spec import Options, Reject
from bpx.training import Schedule

PATH = "schedules/cosine"


def _annealing(
    t: int, base: float, *, T_max: float, eta_min: float, exponent: float, periodic: bool
) -> float:
    angle = math.pi * (t if periodic else min(t, T_max)) / T_max
    wave = (1 + math.cos(angle)) / 2
    return eta_min + (base - eta_min) * wave**exponent


def _annealing_check(o: Options) -> None:
    above_zero("cosine_annealing_lr", o, "T_max", "exponent")
    finite("cosine_annealing_lr", o, "eta_min")


ANNEALING = Schedule(
    name="cosine_annealing_lr",
    path=PATH,
    doc="""Half a cosine wave from base down to eta_min.

    value(t) = eta_min + (base - eta_min) * ((1 + cos(pi t / T_max)) / 2)^exponent

* periodic: after T_max it goes up again, with period 2 T_max, as in torch. With False it stays at
  eta_min, as optax.cosine_decay_schedule does, which gives eta_min as a share alpha of base.
* exponent is optax's alone.

Source: Loshchilov, Hutter 2017, "SGDR: stochastic gradient descent with warm restarts",
arXiv:1608.03983, equation 5.
""",
    options={"T_max": 50, "eta_min": 0.0, "exponent": 1.0, "periodic": True},
    value=_annealing,
    check=_annealing_check,
    trials=(
        {},
        {"T_max": 17, "eta_min": 0.04},
        {"T_max": 1, "eta_min": 0.3},
        {"T_max": 70, "eta_min": 0.05, "exponent": 1.7, "periodic": False},
    ),
    rejects=(
        Reject("cosine_annealing_lr: T_max is 0, expected a number above 0", {}, {"T_max": 0}),
        Reject("cosine_annealing_lr: exponent is -1, expected", {}, {"exponent": -1}),
        Reject("cosine_annealing_lr: eta_min is None, expected", {}, {"eta_min": None}),
    ),
)


def _restarts(t: int, base: float, *, T_0: int, T_mult: int, eta_min: float) -> float:
    since, length = t, T_0
    while since >= length:
        since, length = since - length, length * T_mult
    return eta_min + (base - eta_min) * (1 + math.cos(math.pi * since / length)) / 2


def _restarts_check(o: Options) -> None:
    count("cosine_annealing_warm_restarts", o, "T_0", "T_mult")
    finite("cosine_annealing_warm_restarts", o, "eta_min")


RESTARTS = Schedule(
    name="cosine_annealing_warm_restarts",
    path=PATH,
    doc="""Cosine annealing that starts again from base; each run is T_mult times the one before.

    T_i      = T_0 * T_mult^i                          length of run i = 0, 1, ...
    T_cur    = t - (T_0 + ... + T_{i-1})               steps since the restart, 0 <= T_cur < T_i
    value(t) = eta_min + (base - eta_min) * (1 + cos(pi T_cur / T_i)) / 2

eta_min itself is never reached: at T_cur = T_i the next run has begun. optax.sgdr_schedule joins
runs of given lengths, each with a warm-up of its own.

Source: Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 and section 3.
""",
    options={"T_0": 10, "T_mult": 1, "eta_min": 0.0},
    value=_restarts,
    check=_restarts_check,
    trials=({}, {"T_0": 7, "T_mult": 2, "eta_min": 0.02}, {"T_0": 1, "T_mult": 3}),
    rejects=(
        Reject("warm_restarts: T_0 is 0, expected an integer at least 1", {}, {"T_0": 0}),
        Reject("warm_restarts: T_mult is 1.5, expected an integer at least", {}, {"T_mult": 1.5}),
        Reject("warm_restarts: eta_min is 'a', expected a finite number", {}, {"eta_min": "a"}),
    ),
)
