"""The native core's library: built, found, up to date, and the reasons where it is not."""

import importlib

import pytest

from bpx import native
from bpx.native import compile


def test_the_native_library_is_here_where_a_compiler_is():
    if native.available() is not None and compile.compiler() is None:
        pytest.skip("no compiler on this machine")
    assert native.available() is None


def test_xla_can_call_it_where_a_compiler_is():
    if native.available() is not None or compile.compiler() is None:
        pytest.skip("no library, or no C++ compiler on this machine")
    pytest.importorskip("jax")
    ffi = importlib.import_module("bpx_jax.kernels.cpu._ffi")
    assert ffi.available() is None


def test_the_library_says_why_it_is_not_loaded(monkeypatch):
    try:
        native._load.cache_clear()
        monkeypatch.setattr(native, "EXTENSION_SUFFIXES", [".nowhere"])
        assert native.available() == "the native library was not built (no C compiler at install?)"
        with pytest.raises(ImportError, match="not built"):
            native.library()
        monkeypatch.undo()
        native._load.cache_clear()
        if native.available() is None:
            native._load.cache_clear()
            monkeypatch.setattr(native, "digest", lambda: "another")
            assert native.available() == (
                "the native library was built from other sources; install bpx again"
            )
    finally:
        monkeypatch.undo()
        native._load.cache_clear()


def test_the_binding_is_compiled_once_and_says_why_not(monkeypatch, tmp_path):
    if compile.compiler() is None:
        pytest.skip("no C++ compiler on this machine")
    include = tmp_path / "include"
    include.mkdir()
    monkeypatch.setenv("BPX_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(compile.CompileError, match=r"failed on xla_ffi.cc: .*ffi\.h"):
        compile.shared_library("xla_ffi.cc", [include], headers=[*include.rglob("*.h")])
    assert list((tmp_path / "cache").iterdir()) == [], "a failed compilation left files behind"
    (include / "xla" / "ffi" / "api").mkdir(parents=True)
    (include / "xla" / "ffi" / "api" / "ffi.h").write_text("#error another version\n")
    with pytest.raises(compile.CompileError, match="another version"):
        compile.shared_library("xla_ffi.cc", [include], headers=[*include.rglob("*.h")])
    monkeypatch.setenv("CXX", str(tmp_path / "no such compiler").replace(" ", "-"))
    with pytest.raises(compile.CompileError, match="was not compiled"):
        compile.shared_library("xla_ffi.cc", [include], headers=[*include.rglob("*.h")])
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(compile.CompileError, match=r"no C\+\+ compiler"):
        compile.shared_library("xla_ffi.cc", [include], headers=[*include.rglob("*.h")])
