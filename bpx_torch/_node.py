"""bpx/native/torch_node.cc as a module: recorded calls of the core as nodes of torch's graph.

It is compiled against the headers of the torch that is installed, in the background when a call is
first repeated, and kept in the user's cache (bpx/native/compile.py). Until it is there, and where
it cannot be, calls go through torch.autograd.Function: slower by some tens of microseconds, the
same bits. BPX_TORCH_NODES=0 leaves it at that.
"""

import atexit
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import ClassVar

import torch

from bpx import native
from bpx.native import compile
from bpx_torch.kernels.cpu import _pool

NAME = "torch_node"


class _State:
    """Of the one module of this process."""

    lock = threading.Lock()
    thread = None
    module = None
    processes: ClassVar[list[subprocess.Popen]] = []  # compilers that were started
    reason = "it is compiled when a call of the native core is first repeated"


def available() -> str | None:
    """None where the module is loaded, else why it is not."""
    return None if _State.module is not None else _State.reason


def module():
    """The module, or None while there is none; the first call begins to compile it."""
    if _State.module is None and _State.thread is None:
        with _State.lock:
            if _State.thread is None:
                _State.thread = threading.Thread(target=build, name=f"bpx {NAME}", daemon=True)
                _State.thread.start()
    return _State.module


def build():
    """Compile and load the module; None or why it could not be."""
    if _State.module is None:
        _State.reason = f"{NAME}.cc is being compiled"
        try:
            made = _load(_compiled())
            if _pool.serial() is None:
                made.bind(*_pool.addresses())
            _State.module = made
        except (compile.CompileError, ImportError, OSError) as error:
            _State.reason = str(error)
    return available()


def followed() -> bool:
    """Whether compiled autograd is to follow backward, into which a node cannot be taken."""
    config = sys.modules.get("torch._dynamo.config")
    return config is not None and bool(config.compiled_autograd)


def _compiled() -> Path:
    if os.environ.get("BPX_TORCH_NODES") == "0":
        raise compile.CompileError("BPX_TORCH_NODES is 0")
    if (reason := native.available()) is not None:
        raise compile.CompileError(reason)
    if sys.platform != "linux":
        raise compile.CompileError(f"{NAME}.cc is compiled on Linux alone, not on {sys.platform}")
    import fcntl

    root = Path(torch.__file__).parent
    include = [root / "include", root / "include" / "torch" / "csrc" / "api" / "include"]
    include.append(Path(sysconfig.get_paths()["include"]))
    libraries = ("torch_python", "torch_cpu", "c10")
    compile.cache().mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(compile.cache() / f"{NAME}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of many processes compiles, the others wait
        return compile.shared_library(
            f"{NAME}.cc",
            include,
            headers=[*native.FOLDER.glob("torch_*.hpp")],
            version=f"{torch.__version__} {torch.version.git_version} {sys.version}",
            flags=[
                "-std=c++20",
                "-w",
                "-fvisibility=hidden",
                f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
                f"-L{root / 'lib'}",
                *(f"-l{name}" for name in libraries),
            ],
            started=_followed_by_exit,
        )


def _followed_by_exit(process):
    """Nothing goes on compiling for a Python that is gone."""
    if not _State.processes:
        atexit.register(_stop)
    _State.processes.append(process)


def _stop():
    for process in _State.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _load(path):
    loader = ExtensionFileLoader(NAME, str(path))
    made = module_from_spec(spec_from_loader(NAME, loader))
    loader.exec_module(made)
    return made
