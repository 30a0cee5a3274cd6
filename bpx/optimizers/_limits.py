"""The checks that several optimizers share. Each names the entry and shows the value."""

from __future__ import annotations

from typing import Any

from bpx.spec import Options, require


def _holds(test: Any) -> bool:
    try:
        return bool(test())
    except TypeError:  # not a number
        return False


def non_negative(entry: str, options: Options, *names: str) -> None:
    """Raise unless each named option is a number at least 0; NaN is not."""
    for name in names:
        value = options[name]
        require(
            _holds(lambda value=value: 0 <= value),
            f"{entry}: {name} is {value!r}, expected a number at least 0",
        )


def two_numbers(entry: str, options: Options, name: str, test: Any, said: str) -> None:
    """Raise unless an option is two numbers for which `test(first, second)` holds."""
    pair = options[name]
    require(
        isinstance(pair, (tuple, list)) and len(pair) == 2 and _holds(lambda: test(*pair)),
        f"{entry}: {name} is {pair!r}, expected two numbers, {said}",
    )


def betas(entry: str, options: Options) -> None:
    """Raise unless the option `betas` is two decay rates in [0, 1)."""
    pair = options["betas"]
    require(
        isinstance(pair, (tuple, list))
        and len(pair) == 2
        and all(_holds(lambda b=b: 0 <= b < 1) for b in pair),
        f"{entry}: betas is {pair!r}, expected two numbers in [0, 1)",
    )
