"""A C++ file as a shared library in the user's cache, compiled when first asked for.

Used for what an ordinary install cannot build: a binding that needs the headers of a framework that
pip's isolated build does not see.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bpx.native import FOLDER

FLAGS = ("-O2", "-fPIC", "-shared")


class CompileError(Exception):
    """Why there is no library; one sentence."""


def compiler() -> list[str] | None:
    """$CXX, or the first C++ compiler on the path."""
    if command := shlex.split(os.environ.get("CXX", "")):
        return command
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    return [found] if found else None


def cache() -> Path:
    """$BPX_CACHE_DIR, or bpx in the user's cache directory."""
    if own := os.environ.get("BPX_CACHE_DIR"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bpx"


def shared_library(
    source: str,
    include: Sequence[Path],
    *,
    headers: Sequence[Path],
    version: str = "",
    flags: Sequence[str] = ("-std=c++17",),
    started: Callable[[subprocess.Popen[str]], object] | None = None,
) -> Path:
    """The library for a file of this folder, compiled with these headers unless the cache has it.

    include  folders of headers
    headers  files whose contents the library depends on; `version` stands for those that are too
             many to be read
    flags    of the compiler, behind the files
    started  is given the compiler's process, the leader of its own group

    The name holds a digest of all that went into it. Processes that compile at the same time each
    write a file of their own, and the last rename wins: no lock to be left behind.
    Raises CompileError.
    """
    if (command := compiler()) is None:
        raise CompileError(f"no C++ compiler for {source} (no c++, g++, clang++ on the path)")
    about = (command, FLAGS, platform.machine(), tuple(flags), tuple(map(str, include)), version)
    key = hashlib.sha256(repr(about).encode())
    for path in (FOLDER / source, FOLDER / "bpx_native.h", *sorted(headers)):
        key.update(path.read_bytes())
    library = cache() / f"{Path(source).stem}-{key.hexdigest()[:16]}.so"
    if library.exists():
        return library
    try:
        library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / library.name
            where = [*(f"-I{i}" for i in include), f"-I{FOLDER}", str(FOLDER / source)]
            line = [*command, *FLAGS, *where, "-o", str(made), *flags]
            process = subprocess.Popen(
                line,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            if started is not None:
                started(process)
            errors = process.communicate()[1]
            if process.returncode != 0:
                raise CompileError(f"{command[0]} failed on {source}: {errors.strip()[:400]}")
            made.replace(library)
    except OSError as error:
        raise CompileError(f"{source} was not compiled: {error}") from error
    return library
