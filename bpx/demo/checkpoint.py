"""Checkpoints of the demo: safetensors, no pickle; what the run depends on in the header, as JSON.

Tensors: <framework>/params/<name>, <framework>/m/<name>, <framework>/v/<name> (AdamW's moments),
<framework>/t (steps taken), losses and statistics (float64). Header: the key "bpx.demo".
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from bpx._command import CommandError
from bpx.demo.lockstep import State
from bpx.demo.settings import Settings

NAME, KEY, FORMAT = "checkpoint.safetensors", "bpx.demo", 2


def identity(
    settings: Settings, frameworks: list[str], more: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """What a checkpoint belongs to; `more` is what the model's data adds."""
    return {"format": FORMAT, "frameworks": frameworks, **settings.identity(), **more}


def save(path: Path, state: State, about: dict[str, Any]) -> None:
    """Write the file whole or not at all: under another name first, then renamed."""
    from safetensors.numpy import save as to_bytes

    tensors = {f"{f}/{k}": a for f, arrays in state.arrays.items() for k, a in arrays.items()}
    tensors |= {"losses": state.losses, "statistics": state.statistics}
    header = {KEY: json.dumps({**about, "step": state.step}, sort_keys=True)}
    data = to_bytes({k: np.asarray(a, order="C") for k, a in tensors.items()}, header)
    with uninterrupted():
        replace(path, data)


def replace(path: Path, data: bytes) -> None:
    """The file at `path` becomes `data` at once. Raises CommandError where it cannot be written."""
    try:
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
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def load(path: Path, about: dict[str, Any], expected: State, total: int) -> State:
    """The state in a file. Raises CommandError unless it is a checkpoint of this run, which has the
    arrays of `expected` and `total` steps."""
    step, tensors = read(path, KEY, "step", about)
    if not isinstance(step, int) or not 0 <= step <= total:
        raise CommandError(
            f"{path} is at step {step}, expected at most {total}, the steps of this run"
        )
    arrays = {
        f: {k: tensors.get(f"{f}/{k}") for k in arrays} for f, arrays in expected.arrays.items()
    }
    for f, wanted in expected.arrays.items():
        for k, a in wanted.items():
            _same_kind(path, f"{f}/{k}", arrays[f][k], a.dtype, a.shape)
    n, _, layers, columns = expected.statistics.shape
    each = expected.losses.shape[2:]
    _same_kind(path, "losses", tensors.get("losses"), np.dtype(float), (n, step, *each))
    shape = (n, step, layers, columns)
    _same_kind(path, "statistics", tensors.get("statistics"), np.dtype(float), shape)
    return State(step, arrays, tensors["losses"], tensors["statistics"])  # type: ignore[arg-type]


def read(path: Path, key: str, own: str, about: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The header's item `own` and the tensors of a file whose header is otherwise `about`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[key])
            tensors = {k: file.get_tensor(k) for k in list(file.keys())}
        mine = header.pop(own)
    except FileNotFoundError:
        raise CommandError(f"there is no {path}: start without --resume") from None
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, ValueError) as error:
        raise CommandError(f"{path} is damaged or no safetensors file: {error}") from error
    except (KeyError, AttributeError, TypeError):
        raise CommandError(f"{path} is no checkpoint of the demo") from None
    names = sorted({*header, *about}, key=lambda k: (k not in ("format", "model"), k))
    differing = [k for k in names if header.get(k) != about.get(k)]
    if differing:
        k = differing[0]
        raise CommandError(
            f"{path} belongs to another run: {k} was {header.get(k)!r}, now it is {about.get(k)!r}"
        )
    return mine, tensors


def _same_kind(path: Path, name: str, found: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    if found is None:
        raise CommandError(f"{path} is damaged: it has no {name}")
    if found.dtype != dtype or found.shape != shape:
        raise CommandError(
            f"{path} is damaged: {name} is {found.dtype} {found.shape}, expected {dtype} {shape}"
        )


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C takes effect at the end of this block: a file is being written, in milliseconds."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    arrived: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if arrived:
            signal.raise_signal(signal.SIGINT)
