"""What a rule's checks may cost, and in which order they are run, so that a cut leaves some of
every family.

Seconds are of this process, on all its processors: what else the machine does cuts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bpx.verify.candidate.plan import Check

SECONDS = {"torch": 2.0, "jax": 5.0}
QUICK = 0.3
ALWAYS = ("kit",)  # the kit checks itself in every run
FIRST = ("forward", "vjp")


def seconds(framework: str, budget: float | None, quick: bool, whole: bool) -> float:
    """What is asked for; without that the default, nothing where the plan is to be run `whole`."""
    if budget is not None:
        return budget
    return math.inf if whole else QUICK if quick else SECONDS[framework]


def turns(planned: Sequence[Check]) -> list[int]:
    """Places in the plan, in the order in which checks are run: the kit's own, then one of every
    family after the other, the long ones last."""
    met: dict[str, int] = {}
    keys = []
    for at, check in enumerate(planned):
        turn = met.get(check.family, 0)
        met[check.family] = turn + 1
        keys.append((check.family not in ALWAYS, check.long, turn, at))
    return sorted(range(len(planned)), key=keys.__getitem__)


def kept(check: Check, spent: float, budget: float, done: set[str]) -> bool:
    """Whether a check is run after so many seconds; the kit's own and a first comparison are."""
    first = check.family in FIRST and check.family not in done
    return spent < budget or check.family in ALWAYS or first


def told(budget: float) -> str:
    """Why a check was left out."""
    return f"the budget of {budget:g} s is spent: a larger one, or full=True, runs it"
