"""What a model is, as far as its arrays need it: layers by path, each with its settings.

The structure comes from the torch model, whose names are the hub: every layout is reached from
them and goes back to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bpx.convert._arrays import Array, name_of
from bpx.spec import SpecError, require


@dataclass(frozen=True)
class Layer:
    """One layer. kind is bpx's name ("linear", "batch_norm", ...), or "sequential" for a container
    that JAX's libraries name otherwise, or torch's type where bpx has none. settings are what
    changes y for equal arrays: eps, momentum, padding, heads; JSON values."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """What one array is: safetensors' dtype name, shape, and "parameter", "buffer" or "count"
    (a counter of steps that no other layout has a place for)."""

    dtype: str
    shape: tuple[int, ...]
    role: str


ROLES = ("parameter", "buffer", "count")


@dataclass(frozen=True)
class Structure:
    """layers by module path; arrays by torch's name; tied: a second name -> the first."""

    layers: Mapping[str, Layer]
    arrays: Mapping[str, Form]
    tied: Mapping[str, str] = field(default_factory=dict)

    def parameters(self) -> list[str]:
        return [n for n, form in self.arrays.items() if form.role == "parameter"]

    def json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "layers": {p: [x.kind, dict(x.settings)] for p, x in self.layers.items()},
            "arrays": {n: [x.dtype, list(x.shape), x.role] for n, x in self.arrays.items()},
            "tied": dict(self.tied),
        }

    @staticmethod
    def of_json(value: Any) -> Structure:
        """The inverse of json(). Raises SpecError for anything else."""
        try:
            layers = {str(p): Layer(str(k), dict(s)) for p, (k, s) in value["layers"].items()}
            arrays = {
                str(n): Form(str(d), tuple(int(i) for i in s), str(r))
                for n, (d, s, r) in value["arrays"].items()
            }
            tied = {str(k): str(v) for k, v in value["tied"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SpecError("convert: structure is not one that bpx wrote") from error
        for name, form in arrays.items():
            require(
                form.role in ROLES,
                f"convert: {name} is a {form.role!r}, expected one of {list(ROLES)}",
            )
        return Structure(layers, arrays, tied)


@dataclass(frozen=True)
class Weights:
    """A model's arrays under torch's names, with its structure; complete and of the right kind."""

    structure: Structure
    arrays: Mapping[str, Array]

    def __post_init__(self) -> None:
        same_arrays("convert", self.arrays, self.structure)


def same_arrays(
    entry: str, arrays: Mapping[str, Array], structure: Structure, roles: tuple[str, ...] = ROLES
) -> None:
    """Raise SpecError unless these are the structure's arrays of `roles`; counts may be missing."""
    known = {n: form for n, form in structure.arrays.items() if form.role in roles}
    needed = {n for n, form in known.items() if form.role != "count"}
    same_names(entry, arrays, needed, set(known))
    for name, a in arrays.items():
        found, form = (name_of(name, a), tuple(a.shape)), known[name]
        require(
            found == (form.dtype, form.shape),
            f"{entry}: {name} is {found[0]} {found[1]}, expected {form.dtype} {form.shape}",
        )


def same_names(entry: str, found: Any, needed: set[str], known: set[str] | None = None) -> None:
    """Raise SpecError where a needed name is missing, or one is found that is not known."""
    missing = sorted(needed - set(found))
    require(not missing, f"{entry}: {_some(missing)} missing")
    surplus = sorted(set(found) - (needed if known is None else known))
    require(not surplus, f"{entry}: {_some(surplus)} not expected")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    verb = "is" if len(names) == 1 else "are"
    return f"{', '.join(names[:3])}{more} {verb}"
