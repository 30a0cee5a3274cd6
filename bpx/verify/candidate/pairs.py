"""Few sets of options in which every pair of values occurs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any


def pairwise(choices: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Few combinations in which every pair of values of two options occurs; greedy."""
    names = [n for n, v in choices.items() if len(v) > 1]
    fixed = {n: v[0] for n, v in choices.items()}
    if not names:
        return []
    if len(names) == 1:
        return [{**fixed, names[0]: v} for v in choices[names[0]]]
    everything = [
        dict(zip(names, c, strict=True)) for c in itertools.product(*(choices[n] for n in names))
    ]

    def pairs(c: dict[str, Any]) -> set[Any]:
        shown = [(n, repr(c[n])) for n in names]
        return set(itertools.combinations(shown, 2))

    of = [pairs(c) for c in everything]
    left = set().union(*of)
    found = []
    while left:
        best = max(range(len(of)), key=lambda k: len(of[k] & left))
        left -= of[best]
        found.append({**fixed, **everything[best]})
    return found
