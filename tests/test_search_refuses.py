"""What bpx.search refuses: options, leaves, values, states of other parameters."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from bpx.search import Annealing, LocalSearch, RandomSearch, State
from bpx.spec import SpecError

REJECTS = [
    (RandomSearch, {"evaluations": 0}, "random_search: evaluations is 0, expected an integer at"),
    (
        RandomSearch,
        {"evaluations": True},
        "random_search: evaluations is True, expected an integer",
    ),
    (RandomSearch, {"scale": 0}, "random_search: scale is 0, expected a finite number above 0"),
    (
        LocalSearch,
        {"scale": math.inf},
        "local_search: scale is inf, expected a finite number above",
    ),
    (LocalSearch, {"noise": "pink"}, "local_search: noise is 'pink', expected one of ['normal', "),
    (LocalSearch, {"target": "low"}, "local_search: target is 'low', expected a number or None"),
    (LocalSearch, {"patience": -1}, "local_search: patience is -1, expected an integer at least 0"),
    (LocalSearch, {"spread": -1.0}, "local_search: spread is -1.0, expected a finite number above"),
    (Annealing, {"temperature": 0.0}, "annealing: temperature is 0.0, expected a finite number"),
    (Annealing, {"final": "cold"}, "annealing: final is 'cold', expected a finite number above 0"),
    (Annealing, {"cooling": "fast"}, "annealing: cooling is 'fast', expected one of ['geometric'"),
    (Annealing, {"restarts": 1.5}, "annealing: restarts is 1.5, expected an integer at least 0"),
    (Annealing, {"restarts": 10}, "annealing: restarts is 10, expected fewer than the 10 eval"),
    (Annealing, {"restart_from": "x"}, "annealing: restart_from is 'x', expected one of ['best'"),
]


@pytest.mark.parametrize(("cls", "options", "says"), REJECTS, ids=lambda x: str(x)[:45])
def test_options(cls: Any, options: Any, says: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(says)}"):
        cls(**{"evaluations": 10, **options})


def test_refuses() -> None:
    method = RandomSearch(5)
    with pytest.raises(SpecError, match=re.escape("search: params['a'][1] has dtype int64, expec")):
        method.run(lambda p: 0.0, {"a": [np.ones(1), np.arange(2)]}, 0)
    with pytest.raises(SpecError, match=r"^random_search: f gives ndarray, expected a number$"):
        method.run(lambda p: p, np.ones(3), 0)
    with pytest.raises(SpecError, match=r"^random_search: f gives str, expected a number$"):
        method.run(lambda p: "low", np.ones(3), 0)
    state = method.run(lambda p: 0.0, np.ones(3), 0).state
    with pytest.raises(SpecError, match="random_search: the state has 3 parameters, expected 2"):
        method.run(lambda p: 0.0, np.ones(2), 0, state=state)
    arrays = state.arrays()
    missing = {k: v for k, v in arrays.items() if k != "best"}
    with pytest.raises(SpecError, match=r"^search: the state has no 'best'$"):
        State.from_arrays(missing)
    says = re.escape("search: x of the state is float64 (2,), expected float64 (3,)")
    with pytest.raises(SpecError, match=f"^{says}$"):
        State.from_arrays({**arrays, "x": np.ones(2)})
