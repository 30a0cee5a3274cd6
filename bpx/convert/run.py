"""A model with its optimizer and step, saved to a file and loaded from it, in any layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpx.convert import files
from bpx.convert._arrays import Array
from bpx.convert._factored import REDUCED
from bpx.convert.optimizers import OptimizerState
from bpx.convert.structure import Structure, Weights
from bpx.convert.weights import LAYOUTS, from_layout, to_layout
from bpx.spec import SpecError, one_of, require

CHOICES = ("torch", *LAYOUTS)


@dataclass(frozen=True)
class Run:
    """What a file holds. `layout` is how the file names its arrays; `weights` and `optimizer` are
    under torch's names whatever it is. `more` is the caller's, JSON values."""

    weights: Weights
    optimizer: OptimizerState | None = None
    step: int = 0
    layout: str = "torch"
    more: Mapping[str, Any] | None = None


def save(path: str | Path, run: Run, layout: str | None = None) -> None:
    """Write a run whole or not at all, its arrays named and laid out as `layout` has it ("torch",
    "plain", "nnx", "equinox"; None for the run's own). Adafactor's means along an axis keep torch's
    names and shapes: they are no arrays of a parameter's shape.

    Raises SpecError where a layout has no place for an array, OSError where it cannot be written.
    """
    layout = run.layout if layout is None else layout
    one_of("convert", "layout", layout, CHOICES)
    structure = run.weights.structure
    tensors = _named("weights", layout, run.weights.arrays, structure)
    if layout != "torch":
        counts = {n: a for n, a in run.weights.arrays.items() if _is_count(structure, n)}
        tensors |= {f"count/{n}": a for n, a in counts.items()}
    if run.optimizer is not None:
        for slot, arrays in run.optimizer.slots.items():
            there = "torch" if slot in REDUCED else layout
            tensors |= _named(f"optimizer/{slot}", there, arrays, structure, moved_only=True)
    about = {
        "layout": layout,
        "structure": structure.json(),
        "optimizer": None if run.optimizer is None else run.optimizer.json(),
        "step": run.step,
        "more": dict(run.more or {}),
    }
    files.write(path, tensors, about)


def load(path: str | Path) -> Run:
    """The run in a file, complete and checked. Raises SpecError with the reason for a file that is
    truncated, foreign or does not fit its own structure, OSError where it cannot be read."""
    tensors, about = files.read(path)
    try:
        layout, step, more = about["layout"], about["step"], dict(about["more"])
        described, optimizer = about["structure"], about["optimizer"]
    except (KeyError, TypeError, ValueError):
        raise SpecError(f"{path} is damaged: its record is not complete") from None
    require(layout in CHOICES, f"{path} has layout {layout!r}, expected one of {list(CHOICES)}")
    require(
        type(step) is int and step >= 0, f"{path} is at step {step!r}, expected a number of steps"
    )
    try:
        structure = Structure.of_json(described)
        groups = _groups(tensors)
        weights = _torch(layout, groups.pop("weights", {}), structure)
        weights |= groups.pop("count", {})
        whole = Weights(structure, weights)
        slots = {
            slot: _torch(
                "torch" if slot in REDUCED else layout,
                groups.pop(f"optimizer/{slot}"),
                structure,
                True,
            )
            for slot in [g.partition("/")[2] for g in groups if g.startswith("optimizer/")]
        }
        require(not groups, f"tensors of {sorted(groups)} are not expected")
        require(optimizer is not None or not slots, "an optimizer's arrays are not expected")
        state = None
        if optimizer is not None:
            state = OptimizerState.of_json(optimizer, slots)
            state.check(structure)
        return Run(whole, state, step, layout, more)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SpecError(f"{path} is damaged: its structure does not fit its arrays") from error


def _named(
    head: str,
    layout: str,
    arrays: Mapping[str, Array],
    structure: Structure,
    moved_only: bool = False,
) -> dict[str, Array]:
    there = arrays
    if layout != "torch":
        there = to_layout(layout, arrays, structure, moved_only=moved_only)
    return {f"{head}/{n}": a for n, a in there.items()}


def _torch(
    layout: str, arrays: dict[str, Array], structure: Structure, moved_only: bool = False
) -> dict[str, Array]:
    if layout == "torch":
        return arrays
    return from_layout(layout, arrays, structure, moved_only=moved_only)


def _groups(tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    for name, a in tensors.items():
        head, _, last = name.rpartition("/")
        found.setdefault(head, {})[last] = a
    return found


def _is_count(structure: Structure, name: str) -> bool:
    return structure.arrays[name].role == "count"
