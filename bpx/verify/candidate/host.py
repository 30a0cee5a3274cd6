"""What the kit asks of a framework to try anyone's function: NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bpx.verify.candidate.plan import Check
from bpx.verify.candidate.point import Point

Arrays = Sequence[Any]
Function = Callable[..., Any]


class Host(Protocol):
    """One framework. A function takes and returns the framework's arrays, one or a tuple of them;
    values come back as float64 (integers and booleans as they are)."""

    name: str
    few: bool  # a new shape costs a compilation

    def call(self, f: Function, arrays: Arrays, options: Mapping[str, Any], dtype: str) -> Arrays:
        """The outputs of f."""

    def like(self, f: Function, arrays: Arrays, options: Mapping[str, Any]) -> Arrays:
        """The outputs of f, or arrays of their shapes and kinds where that is cheaper."""

    def pull(
        self,
        f: Function,
        arrays: Arrays,
        options: Mapping[str, Any],
        dys: Arrays,
        dtype: str,
        asked: Sequence[bool],
    ) -> tuple[Arrays, Arrays]:
        """Outputs and gradients through the framework's engine. A dy of None belongs to an output
        that is not used or has no gradient; a gradient is None where none was asked for or came."""

    def twice(
        self, f: Function, point: Point, dys: Arrays, vs: Arrays, asked: Sequence[bool]
    ) -> Sequence[Arrays]:
        """Gradients of sum <v, gradient of f at dys> by every argument asked for, once for each way
        the framework has of taking them."""

    def rounded(self, array: Any, dtype: str) -> Any:
        """The array after a round trip through the dtype."""

    def scaled(self, f: Function, factor: float) -> Function:
        """f with its gradients multiplied by `factor`, for the kit to reject."""

    def checks(self, trial: Any) -> list[Check]:
        """What only this framework has: layouts, memory, transforms."""
