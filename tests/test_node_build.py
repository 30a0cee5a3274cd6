"""How the nodes' module is compiled: in the background, once, and what is said where it is not."""

import os
import subprocess
import sys
import threading
import time

import pytest

torch = pytest.importorskip("torch")

from bpx import build, native
from bpx.__main__ import main
from bpx.native import compile
from bpx_torch import RULES, _fast, _node
from bpx_torch import functional as F

LOADED = _node.build()
CORE = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has not asked for the module."""
    for name, value in (("module", None), ("thread", None), ("reason", "not asked for")):
        monkeypatch.setattr(_node._State, name, value)


@CORE
def test_it_is_compiled_in_the_background(fresh, monkeypatch):
    go, asked = threading.Event(), []

    def build():
        asked.append(threading.current_thread().name)
        go.wait(10)

    monkeypatch.setattr(_node, "build", build)
    monkeypatch.setattr(_fast, "RECORDED", 1)
    x = torch.randn(3, 7, requires_grad=True)
    for _ in range(3):
        F.tanh(x).sum().backward()  # does not wait
    go.set()
    _node._State.thread.join()
    assert asked == ["bpx torch_node"]


@pytest.mark.skipif(LOADED is not None, reason=str(LOADED))
def test_nodes_begin_when_it_is_there(fresh, monkeypatch):
    monkeypatch.setattr(_fast, "RECORDED", 2)
    module = torch.autograd.function.BackwardCFunction
    x = torch.randn(3, 9, requires_grad=True)
    with monkeypatch.context() as without:
        without.setattr(_node, "module", lambda: None)
        ways = [isinstance(F.tanh(x).grad_fn, module) for _ in range(4)]
    assert _node.build() is None
    ways.append(isinstance(F.tanh(x).grad_fn, module))
    assert ways == [True, True, True, True, False]


def test_a_plain_kernel_is_not_recorded(fresh, monkeypatch):
    """But for those of REPEATED; nothing is compiled for it."""
    monkeypatch.setattr(_node, "build", lambda: pytest.fail("asked for"))
    arrays = [torch.randn(s, requires_grad=True) for s in [(4, 3), (4, 2), (5, 3, 2)]]
    for _ in range(4):
        RULES["bilinear"](*arrays, None).sum().backward()
    assert _node._State.thread is None


def test_compiled_autograd_is_asked_for(monkeypatch):
    import torch._dynamo.config as config

    x = torch.randn(3, 8, requires_grad=True)
    with config.patch(compiled_autograd=True):
        assert isinstance(F.tanh(x).grad_fn, torch.autograd.function.BackwardCFunction)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.setenv("BPX_TORCH_NODES", "0"), "BPX_TORCH_NODES is 0"),
        (lambda m: m.setattr(native, "available", lambda: "no core"), "no core"),
        pytest.param(
            lambda m: m.setattr(sys, "platform", "plan9"),
            "torch_node.cc is compiled on Linux alone, not on plan9",
            marks=CORE,
        ),
        pytest.param(
            lambda m: m.setenv("PATH", ""),
            "no C++ compiler for torch_node.cc (no c++, g++, clang++ on",
            marks=CORE,
        ),
        pytest.param(
            lambda m: m.setenv("CXX", "false"), "false failed on torch_node.cc: ", marks=CORE
        ),
        pytest.param(
            lambda m: m.setenv("BPX_CACHE_DIR", "/proc/nowhere"),
            "No such file or directory: '/proc",
            marks=CORE,
        ),
    ],
)
def test_it_says_why_not(fresh, monkeypatch, tmp_path, change, reason):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("BPX_CACHE_DIR", str(tmp_path))
    change(monkeypatch)
    assert reason in _node.build()
    assert reason in _node.available()
    assert _node.module() is None
    _node._State.thread.join()  # which has tried again
    assert reason in _node.available()


def test_it_is_built_where_it_can_be():
    """Or every test of the nodes would be passed over without a word of what broke."""
    off = os.environ.get("BPX_TORCH_NODES") == "0" or native.available() is not None
    if off or sys.platform != "linux" or compile.compiler() is None:
        pytest.skip(f"nodes cannot be built here: {LOADED}")
    assert LOADED is None


def test_a_file_that_does_not_load(fresh, monkeypatch, tmp_path):
    path = tmp_path / "broken.so"
    path.write_bytes(b"not a library")
    monkeypatch.setattr(_node, "_compiled", lambda: path)
    assert "broken.so" in _node.build()


SCRIPT = """
import threading, time
from bpx_torch import _node
_node.module()
while not _node._State.processes:
    time.sleep(0.01)
print(_node._State.processes[0].pid)
"""


def test_nothing_goes_on_when_python_ends(tmp_path):
    if native.available() is not None or sys.platform != "linux":
        pytest.skip("nothing is compiled here")
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    env = {**os.environ, "CXX": str(slow), "BPX_CACHE_DIR": str(tmp_path / "cache")}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=50
    )
    assert run.returncode == 0, run.stderr
    pid = int(run.stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the compiler goes on")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["torch_node.lock"]


def test_the_command(monkeypatch, capsys):
    found = [("a", None), ("b", "no compiler")]
    monkeypatch.setattr(build, "bindings", lambda: found)
    monkeypatch.setattr(native, "available", lambda: None)
    assert main(["build"]) == 1
    assert capsys.readouterr().out == (
        f"native core: built\na: built, in {compile.cache()}\nb: no compiler\n"
    )
    found.pop()
    assert main(["build"]) == 0
    monkeypatch.undo()
    assert next(what for what, _ in build.bindings()) == "nodes of torch's graph"
