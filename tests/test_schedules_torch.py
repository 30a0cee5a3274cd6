"""bpx_torch's schedulers against torch's and the specification, step by step over a run."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.optim import lr_scheduler as theirs

from bpx_torch.optim import lr_scheduler as ours
from tests.schedule_runs import (
    BASES,
    CASES,
    assert_close,
    length,
    make,
    optimizer,
    run,
)
from tests.trajectories import label


@pytest.mark.parametrize(("spec", "trial"), CASES, ids=label)
def test_run_is_torchs_and_the_specifications(spec: Any, trial: dict[str, Any]) -> None:
    options, steps = {**spec.options, **trial}, length({**spec.options, **trial})
    want = [[spec.value(t, base, **options) for base in BASES] for t in range(steps)]
    reference = run(make(theirs, spec, trial, optimizer()), steps)
    got = run(make(ours, spec, trial, optimizer()), steps)
    assert_close(reference, np.asarray(want), "torch against the specification")
    assert_close(got, np.asarray(want), "bpx_torch against the specification")
    assert_close(got, reference, "bpx_torch against torch")


@pytest.mark.parametrize(("spec", "trial"), CASES, ids=label)
def test_state_goes_both_ways_in_mid_run(spec: Any, trial: dict[str, Any]) -> None:
    for source, target in ((ours, theirs), (theirs, ours)):
        first, whole = make(source, spec, trial, optimizer()), length({**spec.options, **trial})
        half = whole // 3
        run(first, half)
        second = make(target, spec, {}, optimizer((1.0, 1.0)))  # other options than the saved ones
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
        assert_close(run(second, whole - half), run(first, whole - half), "continued")


@pytest.mark.parametrize("name", ours.__all__)
def test_arguments_are_torchs(name: str) -> None:
    def arguments(cls: Any) -> Any:
        parameters = inspect.signature(cls.__init__).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters]

    assert arguments(getattr(ours, name)) == arguments(getattr(theirs, name))
    assert issubclass(getattr(ours, name), getattr(theirs, name))
