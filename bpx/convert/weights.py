"""From torch's names to a layout and back: explicit tables, one row for each array.

plain     torch's names and axes without the counters, nested by the dots: bpx_jax.nn's layers
nnx       flax.nnx's (bpx/convert/nnx.py)
equinox   equinox's (bpx/convert/equinox.py)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from bpx.convert import equinox, nnx
from bpx.convert._arrays import Array
from bpx.convert._rows import Row
from bpx.convert.structure import Layer, Structure, same_names
from bpx.spec import SpecError, one_of, require

TABLES: dict[str, ModuleType] = {"nnx": nnx, "equinox": equinox}
LAYOUTS = ("plain", *TABLES)
RECURRENT = {"lstm": "lstm_cell", "gru": "gru_cell", "rnn": "rnn_cell"}
CELLS = tuple(RECURRENT.values())
NONE: Mapping[str, Any] = MappingProxyType({})


def join(*parts: str) -> str:
    return ".".join(p for p in parts if p)


def place(
    layout: str, structure: Structure, path: str, names: Mapping[str, str] | None = None
) -> str:
    """The path in a layout of torch's module path. `names` (torch's path -> the layout's) goes
    first, the longest that fits; without one, the layers of a Sequential are below "layers"."""
    given = dict(names or {})
    if layout == "plain" and not given:
        return path
    parts = path.split(".") if path else []
    for n in range(len(parts), -1, -1):
        head = ".".join(parts[:n])
        if head in given:
            done, here, rest = given[head], head, parts[n:]
            break
    else:
        done, here, rest = "", "", parts
    for part in rest:
        layer = structure.layers.get(here)
        inside = layer is not None and layer.kind == "sequential" and layout in TABLES
        done = join(done, TABLES[layout].SEQUENTIAL if inside else "", part)
        here = join(here, part)
    return done


def targets(
    layout: str, structure: Structure, names: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str, str, Layer, str]]:
    """(torch's path, its arrays' end, the layout's path, layer, label) of every layer that one of
    the layout's own stands for; each run of a recurrent network is a cell of its own."""
    for path, layer in structure.layers.items():
        if layer.kind == "sequential":
            continue
        there = place(layout, structure, path, names)
        label = f"{path or 'the model'} ({layer.kind})"
        if layer.kind in RECURRENT:
            settings = {k: v for k, v in layer.settings.items() if k == "nonlinearity"}
            cell = Layer(RECURRENT[layer.kind], settings)
            for end, below in TABLES[layout].cells(layer):
                yield path, end, join(there, below), cell, label
        else:
            yield path, "", there, layer, label


def rows(
    layout: str,
    structure: Structure,
    names: Mapping[str, str] | None = None,
    forms: Mapping[str, str] = NONE,
) -> Iterator[tuple[str, str, Row]]:
    """(torch's prefix, the layout's prefix, row) of every row that the model has."""
    library = TABLES[layout]
    for path, end, there, layer, label in targets(layout, structure, names):
        form = forms.get(there)
        if layer.kind in CELLS:
            found = library.cell_rows(layer.kind, end, "", form)
        elif layer.kind in library.TABLE:
            found = library.TABLE[layer.kind](layer, form)
        else:
            raise SpecError(f"convert: {label}: {library.LIBRARY} has no such layer")
        for each in found:
            yield path, there, each


def to_layout(
    layout: str,
    arrays: Mapping[str, Array],
    structure: Structure,
    names: Mapping[str, str] | None = None,
    forms: Mapping[str, str] = NONE,
    moved_only: bool = False,
    whole: bool = False,
) -> dict[str, Array]:
    """The arrays (torch's names, or some of them) under a layout's dotted names. Counters have no
    place there and are left out. `forms`: the layout's path of a layer -> which of two ways.
    For the state of an optimizer, `moved_only` refuses rows that add arrays up, and `whole` those
    that cut them."""
    one_of("convert", "layout", layout, LAYOUTS)
    left = {n: a for n, a in arrays.items() if _role(structure, n) != "count"}
    found: dict[str, Array] = {}
    if layout in TABLES:
        for path, there, each in rows(layout, structure, names, forms):
            given = [join(path, n) for n in each.torch]
            if not any(n in left for n in given):
                continue
            same_names("convert", left, set(given), set(left) | set(given))
            _passes(each, given[0], moved_only, whole)
            moved = each.to(*(left.pop(n) for n in given))
            for name, a in zip(each.theirs, moved, strict=True):
                found[join(there, name)] = a
    for n in left:
        require(
            layout not in TABLES or not _owned(structure, n),
            f"convert: {n} has no place in {TABLES[layout].LIBRARY if layout in TABLES else ''}",
        )
    return found | {loose(layout, structure, n, names): a for n, a in left.items()}


def from_layout(
    layout: str,
    arrays: Mapping[str, Array],
    structure: Structure,
    names: Mapping[str, str] | None = None,
    forms: Mapping[str, str] = NONE,
    moved_only: bool = False,
    whole: bool = False,
) -> dict[str, Array]:
    """The inverse of to_layout. Raises SpecError for a name that no array has there."""
    one_of("convert", "layout", layout, LAYOUTS)
    left, found = dict(arrays), {}
    if layout in TABLES:
        for path, there, each in rows(layout, structure, names, forms):
            given = [join(there, n) for n in each.theirs]
            if not any(n in left for n in given):
                continue
            same_names("convert", left, set(given), set(left) | set(given))
            _passes(each, given[0], moved_only, whole)
            for name, a in zip(each.torch, each.back(*(left.pop(n) for n in given)), strict=True):
                found[join(path, name)] = a
    known = {
        loose(layout, structure, n, names): n
        for n in structure.arrays
        if structure.arrays[n].role != "count" and not (layout in TABLES and _owned(structure, n))
    }
    same_names("convert", left, set(), set(known))
    return found | {known[n]: a for n, a in left.items()}


def _passes(each: Row, name: str, moved_only: bool, whole: bool) -> None:
    require(
        not (moved_only and each.loses),
        f"convert: {name}: {each.loses}, expected arrays that are moved alone "
        "(the sum would take other steps than its terms)",
    )
    require(
        not whole or len(each.torch) == len(each.theirs),
        f"convert: {name}: {len(each.torch)} array here, {max(len(each.torch), len(each.theirs))} "
        "there, expected one of each (the optimizer's steps depend on the norm of an array)",
    )


def loose(
    layout: str, structure: Structure, name: str, names: Mapping[str, str] | None = None
) -> str:
    """The place of an array that belongs to a module of the model's own, which moves as it is."""
    path, _, last = name.rpartition(".")
    return join(place(layout, structure, path, names), last)


def _owned(structure: Structure, name: str) -> bool:
    """Whether an array is that of a layer, or of a part of one (out_proj of an attention)."""
    parts = name.split(".")[:-1]
    heads = (".".join(parts[:n]) for n in range(len(parts) + 1))
    return any(h in structure.layers and structure.layers[h].kind != "sequential" for h in heads)


def _role(structure: Structure, name: str) -> str:
    form = structure.arrays.get(name)
    return "" if form is None else form.role


def compare(
    layout: str,
    structure: Structure,
    found: Mapping[str, Layer],
    names: Mapping[str, str] | None = None,
) -> None:
    """Raise SpecError unless the target has, at each path, a layer that computes the same: eps and
    momentum of norms, strides and padding of convolutions, heads. `found`: its layers by path."""
    library = TABLES[layout].LIBRARY
    for _, _, there, layer, label in targets(layout, structure, names):
        other = found.get(there)
        require(
            other is not None and other.kind == layer.kind,
            f"convert: {label}: {there or 'the target'} is "
            f"{'missing' if other is None else other.kind}, expected {layer.kind} of {library}",
        )
        assert other is not None
        for key, value in layer.settings.items():
            if key in other.settings:
                require(
                    _equal(other.settings[key], value),
                    f"convert: {label}: {key} is {other.settings[key]!r} in {library}, "
                    f"expected {value!r}, as in torch",
                )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-12 * abs(b)  # 1 - 0.9 is not 0.1
    return bool(a == b)


def nested_by(named: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts of a dict by dotted names."""
    found: dict[str, Any] = {}
    for name, a in named.items():
        *path, last = name.split(".")
        at = found
        for part in path:
            at = at.setdefault(part, {})
        at[last] = a
    return found
