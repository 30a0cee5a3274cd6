"""Every subcommand's way in: names, mistakes, missing frameworks, exit codes."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import bpx
from bpx import _measured
from bpx.__main__ import COMMANDS, main
from bpx._command import CommandError, needs
from bpx._page import Table, entries
from bpx.spec import SpecError

ROOT = Path(__file__).resolve().parent.parent
ENTRIES = list(entries().values())


def lines_of(capsys):
    out, err = capsys.readouterr()
    return out.splitlines(), err.splitlines()


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_there(name):
    try:
        module = importlib.import_module(COMMANDS[name][0])
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "jax"):
            raise
        pytest.skip(f"{error.name} is not installed")
    assert callable(module.add_arguments)
    assert callable(module.run)


@pytest.mark.parametrize("argv", [["--help"], ["show", "--help"], ["docs", "--help"]])
def test_help(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 0
    assert "usage: python -m bpx" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"bpx {bpx.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["shwo"], ["show", "relu", "tanh"], ["docs", "--chekc"]])
def test_wrong_words(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("bpx")
    assert "--help says what it takes" in err
    assert err.count("\n") == 1, err


def test_list_names_every_entry(capsys):
    assert main(["show"]) == 0
    out, _ = lines_of(capsys)
    assert [line.split()[0] for line in out if line.startswith("  ")] == [e.name for e in ENTRIES]
    assert out[-1].startswith("native core: ")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_show_has_the_record(entry, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["show", entry.name]) == 0
    out, err = lines_of(capsys)
    assert not err
    text = "\n".join(out)
    assert entry.doc.strip("\n") in text
    for name, value in entry.options.items():
        assert any(line.split()[:1] == [name] and repr(value) in line for line in out)
    for residual in getattr(entry, "residuals", ()):
        assert any(line.split()[:1] == [residual] for line in out)
    assert f"bpx_torch/{entry.path}.py" in text


def test_show_says_which_framework_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    main(["show", "layer_norm"])
    out, _ = lines_of(capsys)
    assert [" ".join(line.split()) for line in out if "not installed" in line] == [
        "torch - not installed: pip install 'bpx[torch]'",
        "jax - not installed: pip install 'bpx[jax]'",
    ]


def test_show_says_which_kernel_runs(capsys):
    pytest.importorskip("torch")
    main(["show", "layer_norm"])
    out, _ = lines_of(capsys)
    kernels = {tuple(line.split()[:2]): line for line in out if line.startswith("    torch")}
    assert kernels["torch", "plain"].split()[2].startswith("available")
    assert "x is on cpu" in kernels["torch", "triton"]
    assert sum(line.endswith("chosen") for line in kernels.values()) == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("laer_norm", "there is no 'laer_norm'; did you mean layer_norm"),
        ("LAYER_NORM", "there is no 'LAYER_NORM'; did you mean layer_norm"),
        ("qqqq", "there is no 'qqqq'; python -m bpx show lists them all"),
    ],
)
def test_show_unknown_name(name, says, capsys):
    assert main(["show", name]) == 2
    out, (line,) = lines_of(capsys)
    assert not out
    assert line.startswith(f"bpx: {says}")


def raising(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            CommandError("steps is 0, expected at least 1"),
            2,
            "bpx: steps is 0, expected at least 1",
        ),
        (SpecError("relu: x is None, expected (*N)"), 2, "bpx: relu: x is None, expected (*N)"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            2,
            "bpx: torch is not installed: pip install 'bpx[torch]'",
        ),
        (KeyboardInterrupt(), 130, None),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else "",
)
def test_exit_codes(error, code, says, capsys, monkeypatch):
    monkeypatch.setattr("bpx.show.run", raising(error))
    assert main(["show"]) == code
    assert lines_of(capsys) == ([], [says] if says else [])


def test_other_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr("bpx.show.run", raising(ModuleNotFoundError("no", name="bpx.typo")))
    with pytest.raises(ModuleNotFoundError):
        main(["show"])


def test_needs(monkeypatch):
    assert needs("json", "demo").__name__ == "json"
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CommandError, match=r"^torch is not installed: pip install 'bpx\[torch\]'$"):
        needs("torch", "torch")


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m bpx show relu | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_docs_check_tells_stale_from_fresh(tmp_path, capsys, monkeypatch):
    table = Table("", ("entry", "rule"), (("linear", "0"),))  # measuring takes a minute
    monkeypatch.setattr(_measured, "memory_table", lambda framework: table)
    assert main(["docs", str(tmp_path)]) == 0
    assert main(["docs", "--check", str(tmp_path)]) == 0
    (tmp_path / "layers" / "layer_norm.md").write_text("edited", encoding="utf-8")
    (tmp_path / "errors.md").unlink()
    gone = tmp_path / "layers" / "no_such_entry.md"
    gone.write_text((tmp_path / "index.md").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "notes.md").write_text("mine", encoding="utf-8")
    capsys.readouterr()
    assert main(["docs", "--check", str(tmp_path)]) == 1
    _, err = lines_of(capsys)
    stale = {Path(line.removesuffix(" is out of date")).name for line in err[:-1]}
    assert stale == {"layer_norm.md", "errors.md", "no_such_entry.md"}
    assert main(["docs", str(tmp_path)]) == 0
    assert main(["docs", "--check", str(tmp_path)]) == 0
    assert not gone.exists()
    assert (tmp_path / "notes.md").read_text(encoding="utf-8") == "mine"
