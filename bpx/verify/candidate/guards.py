"""The kit checks itself in every run: the rule was called, the two sides are two, and a broken
twin of the rule is rejected by the same comparison."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.verify.candidate.levels import Differences
from bpx.verify.candidate.plan import Check, NotRun
from bpx.verify.candidate.trial import Trial

FACTORS = (1.001, 0.0, -1.0)


def checks(trial: Trial) -> list[Check]:
    return [
        Check("kit", "rule is called", lambda: called(trial)),
        Check("kit", "no shared storage", lambda: storage(trial)),
        Check("kit", "broken twin", lambda: twin(trial)),
    ]


def called(trial: Trial) -> Iterator[dict[str, Any]]:
    """A comparison calls the rule, and not only the reference."""
    point, before = trial.points.generic(0), trial.counted.calls
    list(trial.compared(point))
    same = getattr(trial.reference, "f", None) is trial.f and not isinstance(
        trial.reference, Differences
    )
    message = "the rule was never called" if trial.counted.calls == before else ""
    yield {"what": "calls", "message": "the reference is the rule itself" if same else message}


def storage(trial: Trial) -> Iterator[dict[str, Any]]:
    """What the two sides return lies in memory of their own."""
    point = trial.points.generic(0)
    inputs, dys, wanted, *_ = trial.reference_at(point)
    ys, grads = trial.host.pull(trial.counted, inputs, point.options, dys, point.dtype, trial.asked)
    got = [*ys, *(g for g in grads if g is not None)]
    shared = any(np.shares_memory(a, b) for a in got for b in wanted if np.size(a))
    yield {"what": "storage", "message": "rule and reference share memory" if shared else ""}


def twin(trial: Trial) -> Iterator[dict[str, Any]]:
    """Gradients times 1.001, 0 and -1 must each be rejected."""
    point = trial.points.generic(0)
    _, dys, wanted, *_ = trial.reference_at(point)
    if not any(np.any(np.nan_to_num(w)) for w in wanted[len(dys) :]):
        raise NotRun("every gradient is zero: a factor changes nothing")
    for factor in FACTORS:
        broken = trial.host.scaled(trial.counted, factor)
        items = list(trial.compared(point, f=broken, parts=("vjp",)))
        caught = any(i.get("message") or i.get("ratio", 0.0) > 1 for i in items)
        message = "" if caught else f"a backward times {factor} passes: the kit is blind here"
        yield {"what": f"times {factor}", "message": message}
