"""What the kit asks of a framework: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from bpx.rule import Rule
from bpx.spec import Case

Arrays = tuple[Any, ...]


class Rounds(Protocol):
    """What a reference asks: a dtype's rounding."""

    def rounded(self, array: Any, dtype: str) -> Any:
        """The array after a round trip through the dtype."""


class Runner(Rounds, Protocol):
    """One framework. Values come back as float64 arrays (integers as they are), whatever the dtype
    they were computed in; `dtype` is "float64", "float32", "bfloat16" or "float16".

    checks           every structural check by name
    option_checks    those of them that are run for each set of options
    case_checks      those that are run for every case in which each argument has elements
    """

    name: str
    rules: Mapping[str, Rule]
    oracles: Mapping[str, Callable[..., Any]]
    differs: Mapping[str, Mapping[str, str]]
    checks: Mapping[str, Callable[..., str | None]]
    option_checks: tuple[str, ...]
    case_checks: tuple[str, ...]

    def refusal(self, rule: Rule, kernel: str, case: Case, dtype: str) -> str | None:
        """Why this kernel cannot run the case, None when it can."""

    def value(self, rule: Rule, kernel: str, case: Case, dtype: str) -> tuple[Any, Arrays]:
        """(y, residuals) of the kernel's forward."""

    def gradient(self, rule: Rule, kernel: str, case: Case, dy: Any, dtype: str) -> Arrays:
        """One gradient per argument through the framework's engine, None for index and absent."""

    def autodiff(self, f: Callable[..., Any], rule: Rule, case: Case, dy: Any) -> Arrays:
        """The framework's own derivative of f(*arrays, **options) in float64."""

    def oracle_value(
        self, f: Callable[..., Any], rule: Rule, case: Case, dtype: str = "float64"
    ) -> Any:
        """f(*arrays, **options) in a dtype."""

    def using(self, kernel: str) -> AbstractContextManager[None]:
        """Force the kernel within a block."""

    def interprets(self, kernel: str) -> bool:
        """Whether this kernel runs in an interpreter that takes seconds for a call."""

    def saved_bytes(
        self, f: Callable[..., Any], rule: Rule, case: Case, dtype: str
    ) -> tuple[int, int]:
        """Bytes that the framework keeps for the backward of f(*arrays, **options): all of them,
        and those of neither arguments nor output."""

    def finite_differences(self, rule: Rule, kernel: str, case: Case) -> str:
        """The framework's own checker: "" when it passes, else what it said."""
