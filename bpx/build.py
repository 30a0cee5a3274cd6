"""python -m bpx build: what binds the native core to the installed frameworks, compiled now.

An install builds the core. Its bindings need headers of torch and jaxlib, are compiled when first
used and kept in the user's cache; an image or a cluster's shared home has them ready by this.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Iterator

from bpx import native
from bpx.native.compile import cache

# framework -> (module, function that compiles and returns None or why not, what it is)
BINDINGS = {
    "torch": ("bpx_torch._node", "build", "nodes of torch's graph"),
    "jax": ("bpx_jax.kernels.cpu._ffi", "available", "XLA FFI targets"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Compile, and say what is there; 1 where something could not be built."""
    failed = False
    core = native.available()
    print(f"native core: {core or 'built'}")
    for what, reason in bindings():
        failed |= reason is not None
        print(f"{what}: {reason or f'built, in {cache()}'}")
    return int(failed or core is not None)


def bindings() -> Iterator[tuple[str, str | None]]:
    """(what, None or why it is not there) of each framework that is installed."""
    for framework, (module, function, what) in BINDINGS.items():
        if importlib.util.find_spec(framework) is not None:
            yield what, getattr(importlib.import_module(module), function)()
