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
from pathlib import Path

from bpx.native import FOLDER

FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared")


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


def shared_library(source: str, include: Path) -> Path:
    """The library for a file of this folder, compiled with these headers unless the cache has it.

    The name holds a digest of all that went into it. Processes that compile at the same time each
    write a file of their own, and the last rename wins: no lock to be left behind.
    """
    if (command := compiler()) is None:
        raise CompileError(f"no C++ compiler for {source} (no c++, g++, clang++ on the path)")
    key = hashlib.sha256(repr((command, FLAGS, platform.machine())).encode())
    for path in (FOLDER / source, FOLDER / "bpx_native.h", *sorted(include.rglob("*.h"))):
        key.update(path.read_bytes())
    library = cache() / f"{Path(source).stem}-{key.hexdigest()[:16]}.so"
    if library.exists():
        return library
    try:
        library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / library.name
            where = [f"-I{include}", f"-I{FOLDER}", str(FOLDER / source), "-o", str(made)]
            run = subprocess.run([*command, *FLAGS, *where], capture_output=True, text=True)
            if run.returncode != 0:
                raise CompileError(f"{command[0]} failed on {source}: {run.stderr.strip()[:400]}")
            made.replace(library)
    except OSError as error:
        raise CompileError(f"{source} was not compiled: {error}") from error
    return library
