"""The record of what one library does for one entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NAMES = ("torch", "flax", "optax", "keras")


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED: Final = _Required()


@dataclass(frozen=True)
class Profile:
    """`options`: the library's value of an option, spelled as in the entry. `module`: where its
    layer has another value than its function. `initial`: the first values of a layer's parameters,
    (initializer, its options) by torch's names and in torch's layout. `name`: what it is called
    there. `gate_bias`: gate of a recurrent layer -> the first value of its bias, where not that of
    `initial`. `note`: what no option says, such as the order of arguments or a layout."""

    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    note: str = ""
    module: Mapping[str, Any] = field(default_factory=dict)
    initial: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    gate_bias: Mapping[str, float] = field(default_factory=dict)
