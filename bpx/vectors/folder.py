"""Folders of vectors and of results: written in one order, read with every hash compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bpx import __version__
from bpx.convert.files import of_bytes, to_bytes
from bpx.spec import SpecError, require
from bpx.vectors.build import DTYPES, Vectors
from bpx.vectors.entries import Entry, vectors_of

FORMAT = 1
MANIFEST = "manifest.json"
SUFFIX = ".safetensors"
TOLERANCE = (
    "|result - expected| <= bounds, element by element: the arrays bounds/* of the files. "
    "The numbers under tolerances are the largest bound of each array."
)


def file_of(vectors: Vectors) -> bytes:
    """The bytes of an entry's file: the same for the same vectors."""
    return to_bytes(vectors.arrays, {})


def write(folder: Path, specs: Iterable[Entry]) -> dict[str, Any]:
    """Write the vectors of these entries, the manifest last. Returns the manifest.

    Raises OSError where the folder cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # no manifest of other files while these change
    entries = {}
    for spec in specs:
        vectors = vectors_of(spec)
        data = file_of(vectors)
        (folder / f"{spec.name}{SUFFIX}").write_bytes(data)
        entries[spec.name] = {
            "file": f"{spec.name}{SUFFIX}",
            "sha256": hashlib.sha256(data).hexdigest(),
            **vectors.about,
        }
    manifest = {
        "format": FORMAT,
        "bpx": __version__,
        "numpy": np.__version__,
        "dtypes": list(DTYPES),
        "expected": "float64, computed in float64 from the inputs as stored",
        "tolerance": TOLERANCE,
        "entries": entries,
    }
    text = json.dumps(manifest, indent=1, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """A folder's manifest. Raises SpecError with what is wrong."""
    path = folder / MANIFEST
    data = _read(path)
    try:
        manifest = json.loads(data)
        form, entries = manifest["format"], manifest["entries"]
        for entry in entries.values():
            _record(entry)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SpecError(f"vectors: {path} is damaged or no manifest of vectors") from None
    require(form == FORMAT, f"vectors: {path} has format {form!r}, expected {FORMAT}")
    return dict(manifest)


def _record(entry: Any) -> None:
    """Raise where a record lacks what `check` reads."""
    if not isinstance(entry["sha256"], str):
        raise TypeError
    for case in entry["cases"]:
        if not (isinstance(case["name"], str) and isinstance(case["cancels"], int | float)):
            raise TypeError


def read_vectors(folder: Path, name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """One entry's arrays, after its hash is found to be the manifest's. Raises SpecError."""
    path = folder / f"{name}{SUFFIX}"
    data = _read(path)
    _same(manifest["entries"][name]["sha256"], data, f"{path} is not the file of its manifest")
    return of_bytes(path, data)[0]


def computed_vectors(spec: Entry, manifest: dict[str, Any]) -> dict[str, Any]:
    """One entry's arrays from the specification, if they are those of the manifest. Raises
    SpecError."""
    vectors = vectors_of(spec)
    what = (
        f"this bpx writes other vectors of {spec.name} than those of the manifest (bpx "
        f"{manifest.get('bpx')}, numpy {manifest.get('numpy')}): name their folder, too"
    )
    _same(manifest["entries"][spec.name]["sha256"], file_of(vectors), what)
    return vectors.arrays


def read_results(folder: Path, name: str) -> dict[str, Any] | None:
    """The arrays of one entry's results, None where there is no file. Raises SpecError."""
    path = folder / f"{name}{SUFFIX}"
    return of_bytes(path, _read(path))[0] if path.exists() else None


def answered(folder: Path) -> set[str]:
    """The names that a folder of results has a file for. Raises SpecError where there is none."""
    require(folder.is_dir(), f"vectors: there is no folder {folder}")
    found = {p.name.removesuffix(SUFFIX) for p in folder.glob(f"*{SUFFIX}")}
    require(bool(found), f"vectors: {folder} has no results (*{SUFFIX})")
    return found


def _same(sha256: str, data: bytes, what: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    require(found == sha256, f"vectors: {what}: sha256 {found[:12]}..., expected {sha256[:12]}...")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecError(f"vectors: cannot read {path}: {error.strerror}") from None
