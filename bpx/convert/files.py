"""Files of a converted model or run: the safetensors format, with the structure in its header.

    8 bytes     length of the header, little endian
    header      JSON: tensor name -> {"dtype", "shape", "data_offsets"}, "__metadata__": {str: str}
    tensors     row by row, little endian, one after the other without gaps

Tensors are named weights/<name>, count/<name> and optimizer/<state>/<name>. The metadata has one
entry, "bpx.convert": layout, structure, optimizer, step and a hash of the tensors, as JSON. Any
safetensors reader reads the tensors; nothing is ever unpickled. Everything is checked before
anything is returned.

Source: the format's description in the safetensors repository, README.md, "Format".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bpx.convert._arrays import DTYPES, Array, name_of
from bpx.spec import SpecError, require

KEY, FORMAT = "bpx.convert", 1
LONGEST = 100_000_000  # of a header, as in the reference implementation


def to_bytes(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file, the widest dtypes first: every tensor is aligned. Then by name."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, at = [], 0
    for name in sorted(tensors, key=lambda n: (-np.asarray(tensors[n]).dtype.itemsize, n)):
        a = np.asarray(tensors[name])
        part = a.tobytes()  # row by row, whatever the strides
        header[name] = {
            "dtype": name_of(name, a),
            "shape": list(a.shape),
            "data_offsets": [at, at + len(part)],
        }
        at += len(part)
        parts.append(part)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, *parts))


def of_bytes(where: object, data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """(tensors, metadata) of a safetensors file. Raises SpecError with what is wrong."""
    entries, metadata, body = _header(where, data)
    tensors, end = {}, 0
    for name, entry in sorted(entries.items(), key=lambda e: _offsets(where, *e)):
        start, stop = _offsets(where, name, entry)
        dtype, shape = DTYPES.get(entry["dtype"]), entry["shape"]
        require(
            dtype is not None,
            f"{where}: {name} has dtype {entry['dtype']!r}, expected one of {[*DTYPES]}",
        )
        assert dtype is not None
        size = dtype.itemsize
        for n in shape:
            size *= n
        _damaged(where, start == end, f"{name} starts at byte {start}, expected {end}")
        _damaged(where, stop - start == size, f"{name} has {stop - start} bytes, expected {size}")
        _damaged(where, stop <= len(body), f"it ends at byte {len(body)} of {stop}")
        tensors[name] = np.frombuffer(body[start:stop], dtype).reshape(shape).copy()
        end = stop
    _damaged(where, end == len(body), f"{len(body) - end} bytes follow the last tensor")
    return tensors, metadata


def _header(where: object, data: bytes) -> tuple[dict[str, Any], dict[str, str], bytes]:
    _foreign(where, len(data) >= 8)
    length = int.from_bytes(data[:8], "little")
    _foreign(where, 2 <= length <= LONGEST and data[8:9] == b"{")
    _damaged(where, 8 + length <= len(data), f"it ends at byte {len(data)} of {8 + length}")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{where} is damaged: its header is no JSON ({error})") from None
    metadata = header.pop("__metadata__", {})
    good = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    _damaged(where, good, "its metadata are not text")
    return header, metadata, data[8 + length :]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _offsets(where: object, name: str, entry: Any) -> tuple[int, int]:
    """The range of a tensor, after its whole record is found to be one."""
    try:
        (start, stop), shape = entry["data_offsets"], entry["shape"]
        numbers = (start, stop, *shape)
        good = all(type(n) is int and n >= 0 for n in numbers) and isinstance(entry["dtype"], str)
    except (KeyError, TypeError, ValueError):
        good = False
    _damaged(where, good, f"{name} has no dtype, shape and offsets")
    return start, stop


def _damaged(where: object, good: bool, what: str) -> None:
    require(good, f"{where} is damaged: {what}")


def _foreign(where: object, good: bool) -> None:
    require(good, f"{where} is no safetensors file")


def fingerprint(tensors: Mapping[str, Array]) -> str:
    """SHA-256 of the tensors with their names, dtypes and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        a = np.asarray(tensors[name])
        head = json.dumps([name, name_of(name, a), list(a.shape)])
        digest.update(head.encode())
        digest.update(a.tobytes())
    return digest.hexdigest()


def write(path: str | Path, tensors: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    """Write a file whole or not at all: under another name first, then renamed.

    Raises OSError where it cannot be written."""
    path = Path(path)
    head = {"format": FORMAT, "hash": fingerprint(tensors), **about}
    data = to_bytes(tensors, {KEY: json.dumps(head, sort_keys=True)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read(path: str | Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(tensors, about) of a file that `write` wrote. Raises SpecError for any other, OSError where
    it cannot be read."""
    tensors, metadata = of_bytes(path, Path(path).read_bytes())
    require(KEY in metadata, f"{path} has no structure of bpx: it was written by something else")
    try:
        about = json.loads(metadata[KEY])
        form, found = about["format"], about["hash"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise SpecError(f"{path} is damaged: its entry {KEY!r} is no record of bpx") from None
    require(form == FORMAT, f"{path} has format {form!r}, expected {FORMAT}")
    _damaged(path, found == fingerprint(tensors), "the hash of its tensors differs")
    return tensors, about
