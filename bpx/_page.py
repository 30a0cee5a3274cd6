"""What an entry says of itself, as titled tables, for `python -m bpx show` and for the pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import bpx
from bpx import _state_bytes
from bpx._cut import ROOT, private
from bpx.profiles import TABLE, Profile
from bpx.spec import Arg, Initializer, Op, Optimizer
from bpx.training import Schedule, Transform

Entry = Op | Optimizer | Initializer | Schedule | Transform
Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A titled table; `head` names its columns."""

    title: str
    head: Row
    rows: tuple[Row, ...]


def entries() -> dict[str, Entry]:
    """Every entry by name: those of bpx.ALL, then optimizers and the rest."""
    every: Iterable[Entry] = (
        *bpx.ALL,
        *bpx.OPTIMIZERS,
        *bpx.SCHEDULES,
        *bpx.TRANSFORMS,
        *bpx.INITIALIZERS,
    )
    return {e.name: e for e in every}


def kind(entry: Entry) -> str:
    """The folder of the entry, such as "layers"."""
    return entry.path.split("/")[0]


def title(entry: Entry) -> str:
    """The first sentence of the entry's text."""
    return entry.doc.strip().split("\n")[0].rstrip(".")


def tables(entry: Entry) -> list[Table]:
    """What a caller has to know, from the record alone."""
    found = []
    if isinstance(entry, Op):
        found.append(Table("Arguments", ("name", "shape", ""), _arguments(entry)))
    if entry.options:
        options = tuple((name, repr(value)) for name, value in entry.options.items())
        found.append(Table("Options", ("name", "default"), options))
    if isinstance(entry, Op) and entry.surrogate:
        differs = ("backward is the definition",)
        found.append(Table("Not the derivative", differs, ((entry.surrogate,),)))
    if isinstance(entry, Op):
        found.append(_saved(entry))
        if entry.kinks != "none":
            chosen = ("chosen where the derivative jumps",)
            found.append(Table("At kinks", chosen, ((entry.kinks,),)))
    if isinstance(entry, Optimizer):
        state = tuple((name,) for name in entry.state) or (("none",),)
        found.append(Table("State for each parameter", ("name",), state))
        head = ("options", "arrays", "float32", "float64")
        sizes = tuple(_state_bytes.rows(entry))
        found.append(
            Table("Bytes of the state of n elements, R x C, beside single numbers", head, sizes)
        )
    if entry.name in TABLE:
        found.append(profiles(entry))
    if isinstance(entry, Transform):
        state = tuple((name,) for name in entry.state) or (("none",),)
        found.append(Table(f"State, beside {entry.on}", ("name",), state))
    return found


def profiles(entry: Entry) -> Table:
    """What other libraries take for the entry, where `profile=` asks for them."""
    rows = tuple((p, *_profile(entry, TABLE[entry.name][p])) for p in TABLE[entry.name])
    return Table("Profiles", ("profile", "called", "options", "first values", "besides"), rows)


def _profile(entry: Entry, profile: Profile) -> Row:
    options = _listed(profile.options)
    if profile.module:
        options += f"; as a layer {_listed(profile.module)}"
    initial = (f"{n}: {i}({_listed(o)})" for n, (i, o) in profile.initial.items())
    return profile.name or entry.name, options, ", ".join(initial), profile.note


def files(entry: Entry) -> Table:
    """Where to read it; the same path in the three trees."""
    at = {
        "spec": f"bpx/{entry.path}.py",
        "PyTorch": f"bpx_torch/{entry.path}.py",
        "JAX": f"bpx_jax/{entry.path}.py",
    }
    rows: list[Row] = []
    for name, path in at.items():
        rows.append((name, path if (ROOT / path).exists() else "none"))
        rows += [("", beside) for beside in private(path.split("/")[0], entry.path)]
    for package in ("bpx_torch", "bpx_jax"):
        kernels = sorted((ROOT / package / "kernels").glob(f"*/{entry.path.split('/')[-1]}.py"))
        rows += [(f"{k.parent.name} kernel", k.relative_to(ROOT).as_posix()) for k in kernels]
    return Table("Files", ("", "path"), tuple(rows))


def _listed(options: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _arguments(entry: Op) -> tuple[Row, ...]:
    rows = [(a.name, f"({a.dims})", _remark(a)) for a in entry.args]
    options = " with the default options" if callable(entry.out) else ""
    return (*rows, ("y", f"({entry.out_dims(entry.options)})", f"the result{options}"))


def _remark(a: Arg) -> str:
    if a.kind == "index":
        ignored = f", or the option {a.ignore}" if a.ignore else ""
        words = [f"integers, 0 <= {a.name} < {a.below}{ignored}; no gradient"]
    elif a.kind == "bits":
        words = ["uint8, eight booleans to a byte; no gradient"]
    elif a.kind == "mask":
        words = ["booleans, True where something takes part; no gradient"]
    elif a.kind == "key":
        words = ["the two uint32 words of a Threefry key; no gradient"]
    else:
        words = ["float"]
    if a.optional:
        words.append("optional")
    if a.domain is not None:
        words.append(f"within [{a.domain[0]:g}, {a.domain[1]:g}]")
    return ", ".join(words)


def _saved(entry: Op) -> Table:
    """What forward keeps for backward, and the bytes of one element of it."""
    own = "4 in float32, 2 in bfloat16"
    rows: list[Row] = []
    for a in entry.args:
        if a.name in entry.shapes:
            rows.append((a.name, f"({a.dims})", "0", "its shape alone"))
        elif a.name in entry.saves:
            size = own if a.kind == "float" else "as given"
            rows.append((a.name, f"({a.dims})", size, "the argument itself, no copy"))
    for name, dims in entry.residuals.items():
        if name == "y":
            rows.append(("y", f"({dims})", own, "the result itself, no copy"))
        else:
            dtype = entry.constant.get(name)
            size = "1" if dtype else "4, or 8 beside float64"
            rows.append((name, f"({dims})", size, f"residual, {dtype}" if dtype else "residual"))
    if not rows:
        rows.append(("nothing", "", "0", ""))
    return Table("Saved for backward", ("name", "shape", "bytes per element", ""), tuple(rows))
