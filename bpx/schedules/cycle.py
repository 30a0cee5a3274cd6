"""Schedules that go up and down: one cycle, and cycles without end."""

from __future__ import annotations

import itertools
import math

from bpx.limits import above_zero, count, finite, share
from bpx.spec import Options, Reject, one_of
from bpx.training import Schedule

PATH = "schedules/cycle"


def _one_cycle(
    t: int,
    base: float,
    *,
    total_steps: int,
    pct_start: float,
    anneal_strategy: str,
    div_factor: float,
    final_div_factor: float,
    three_phase: bool,
    profile: str,
    pct_final: float,
) -> float:
    low = base / div_factor
    if profile == "torch":
        up, down = pct_start * total_steps - 1, 2 * pct_start * total_steps - 2
        points = [(0.0, low), (up, base)]
        points += [(down, low)] if three_phase else []
        points += [(total_steps - 1, low / final_div_factor)]
    else:
        points = [(0.0, low), (int(pct_start * total_steps), base)]
        points += [(int(pct_final * total_steps), low)] if three_phase else []
        points += [(total_steps, low / final_div_factor)]
    for (start, y0), (end, y1) in itertools.pairwise(points):
        if t <= end and end != start:
            done = (t - start) / (end - start)
            if anneal_strategy == "cos":
                done = (1 - math.cos(math.pi * done)) / 2
            return y0 + (y1 - y0) * done
    return points[-1][1]


def _one_cycle_check(o: Options) -> None:
    count("one_cycle_lr", o, "total_steps")
    share("one_cycle_lr", o, "pct_start", "pct_final")
    above_zero("one_cycle_lr", o, "div_factor", "final_div_factor")
    one_of("one_cycle_lr", "anneal_strategy", o["anneal_strategy"], ("cos", "linear"))
    one_of("one_cycle_lr", "profile", o["profile"], ("torch", "optax"))


ONE_CYCLE = Schedule(
    name="one_cycle_lr",
    path=PATH,
    doc="""One cycle: up to the peak, which is base, and down to almost nothing.

    low = base / div_factor,   least = low / final_div_factor
    two phases     low -> base -> least
    three phases   low -> base -> low -> least

Between two points the value goes by a straight line ("linear") or half a cosine wave ("cos").

* profile="torch": the points are at 0, pct_start * total_steps - 1, in three phases
  2 * pct_start * total_steps - 2, and total_steps - 1. They need not be whole steps.
* profile="optax": at 0, int(pct_start * total_steps), in three phases int(pct_final * total_steps),
  and total_steps. optax.linear_onecycle_schedule is "linear" in three phases,
  optax.cosine_onecycle_schedule "cos" in two.

After the last point the value stays. (torch goes on along the curve for one step, then raises.) A
momentum that is cycled goes by the same phases from max_momentum to base_momentum and back.

Source: Smith, Topin 2018, "Super-convergence: very fast training of neural networks using large
learning rates", arXiv:1708.07120, section 3.
""",
    options={
        "total_steps": 100,
        "pct_start": 0.3,
        "anneal_strategy": "cos",
        "div_factor": 25.0,
        "final_div_factor": 1e4,
        "three_phase": False,
        "profile": "torch",
        "pct_final": 0.85,
    },
    value=_one_cycle,
    check=_one_cycle_check,
    trials=(
        {},
        {"total_steps": 73, "pct_start": 0.41, "anneal_strategy": "linear", "div_factor": 7.0},
        {"total_steps": 90, "pct_start": 0.23, "three_phase": True, "final_div_factor": 30.0},
        {"total_steps": 60, "profile": "optax", "div_factor": 11.0, "final_div_factor": 50.0},
        {
            "total_steps": 80,
            "profile": "optax",
            "anneal_strategy": "linear",
            "three_phase": True,
            "pct_final": 0.7,
            "final_div_factor": 9.0,
        },
    ),
    rejects=(
        Reject("one_cycle_lr: total_steps is 0, expected an integer", {}, {"total_steps": 0}),
        Reject("pct_start is 1.5, expected a number in [0, 1]", {}, {"pct_start": 1.5}),
        Reject("pct_final is -0.5, expected a number in [0, 1]", {}, {"pct_final": -0.5}),
        Reject("div_factor is 0, expected a number above 0", {}, {"div_factor": 0}),
        Reject("final_div_factor is -1, expected", {}, {"final_div_factor": -1}),
        Reject(
            "anneal_strategy is 'exp', expected one of ['cos', 'linear']",
            {},
            {"anneal_strategy": "exp"},
        ),
        Reject("profile is 'keras', expected one of ['torch', 'optax']", {}, {"profile": "keras"}),
    ),
)


def _cyclic(
    t: int,
    base: float,
    *,
    max_lr: float,
    step_size_up: float,
    step_size_down: float | None,
    mode: str,
    gamma: float,
) -> float:
    down = step_size_up if step_size_down is None else step_size_down
    cycle, since = divmod(t, step_size_up + down)
    if since <= step_size_up:
        height = since / step_size_up
    else:
        height = (step_size_up + down - since) / down
    if mode == "triangular2":
        height = height / 2**cycle
    if mode == "exp_range":
        height = height * gamma**t
    return base + (max_lr - base) * height


def _cyclic_check(o: Options) -> None:
    finite("cyclic_lr", o, "max_lr", "gamma")
    above_zero("cyclic_lr", o, "step_size_up")
    if o["step_size_down"] is not None:
        above_zero("cyclic_lr", o, "step_size_down")
    one_of("cyclic_lr", "mode", o["mode"], ("triangular", "triangular2", "exp_range"))


CYCLIC = Schedule(
    name="cyclic_lr",
    path=PATH,
    doc="""Triangles between base and max_lr.

    cycle    = floor(t / (step_size_up + step_size_down)),   since = the steps since it began
    height   = since / step_size_up                          going up
    height   = 1 - (since - step_size_up) / step_size_down   going down
    value(t) = base + (max_lr - base) * height

* mode="triangular2": the height is halved with each cycle; "exp_range": it is times gamma^t.
* step_size_down=None is step_size_up.

A momentum that is cycled goes the other way, from max_momentum down to base_momentum.

Source: Smith 2017, "Cyclical learning rates for training neural networks", arXiv:1506.01186,
section 3.
""",
    options={
        "max_lr": 0.1,
        "step_size_up": 2000,
        "step_size_down": None,
        "mode": "triangular",
        "gamma": 1.0,
    },
    value=_cyclic,
    check=_cyclic_check,
    trials=(
        {"max_lr": 2.0, "step_size_up": 9},
        {"max_lr": 3.0, "step_size_up": 7, "step_size_down": 4, "mode": "triangular2"},
        {
            "max_lr": 5.0,
            "step_size_up": 5,
            "step_size_down": 12,
            "mode": "exp_range",
            "gamma": 0.97,
        },
    ),
    rejects=(
        Reject("cyclic_lr: step_size_up is 0, expected a number above 0", {}, {"step_size_up": 0}),
        Reject("step_size_down is -2, expected a number above 0", {}, {"step_size_down": -2}),
        Reject("cyclic_lr: max_lr is None, expected a finite number", {}, {"max_lr": None}),
        Reject("cyclic_lr: mode is 'saw', expected one of ['triangular'", {}, {"mode": "saw"}),
    ),
)
