"""What the demo refuses: every mistake is one line and exit code 2, before any training."""

import sys

import numpy as np
import pytest

for name in ("torch", "jax", "sklearn", "matplotlib", "rich", "jinja2", "safetensors"):
    pytest.importorskip(name)

from safetensors.numpy import load_file, save_file

from bpx.__main__ import main
from bpx.demo import checkpoint, session, settings

ABOUT = ("--steps", "2", "--batch-size", "8")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    fields = settings.Settings
    monkeypatch.setattr(settings, "Settings", lambda **c: fields(**{"sizes": (64, 6, 10), **c}))


def refused(capsys, folder, *options):
    """The one line that a refused run prints to stderr."""
    code = main(["demo", "--report", str(folder), *ABOUT, *options])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("bpx demo: ")
    assert err.count("\n") == 1
    return err.removeprefix("bpx demo: ").strip()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--steps", "0"], "--steps is 0, expected at least 1"),
        (["--steps", "many"], "--steps is 'many', expected a whole number, at least 1"),
        (["--batch-size", "1438"], "--batch-size is 1438, expected at most 1437, the train"),
        (["--seed", "-1"], "--seed is -1, expected 0 to 4294967295"),
        (["--lr", "0"], "--lr is '0', expected a number above 0"),
        (["--lr", "nan"], "--lr is 'nan', expected a number above 0"),
        (["--checkpoint-every", "-1"], "--checkpoint-every is -1, expected at least 0"),
    ],
)
def test_numbers(options, says, tmp_path, capsys):
    assert refused(capsys, tmp_path, *options).startswith(says)


@pytest.mark.parametrize("package", ["sklearn", "matplotlib", "rich", "jinja2", "safetensors"])
def test_missing_package(package, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert refused(capsys, tmp_path) == f"{package} is not installed: pip install 'bpx[demo]'"


def test_missing_frameworks(tmp_path, capsys, monkeypatch):
    for name in ("torch", "jax"):
        monkeypatch.setitem(sys.modules, name, None)
    sentences = [f"{n} is not installed: pip install 'bpx[{n}]'" for n in ("torch", "jax")]
    assert refused(capsys, tmp_path) == "; ".join(sentences)
    assert refused(capsys, tmp_path, "--framework", "jax") == sentences[1]


@pytest.mark.parametrize(("present", "missing"), [("torch", "jax"), ("jax", "torch")])
def test_one_framework(present, missing, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, f"bpx_{missing}.demo", raising=False)
    assert main(["demo", "--report", str(tmp_path), *ABOUT]) == 0
    out, err = capsys.readouterr()
    assert err == f"bpx demo: {missing} is not installed: pip install 'bpx[{missing}]'\n"
    assert f"loss, {present}" in out
    assert "other framework" not in out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert f"One network in {present}" in page
    assert missing not in page.split("</style>")[1]


@pytest.mark.parametrize("below", ["", "folder"])
def test_report_folder_cannot_be_written(below, tmp_path, capsys, monkeypatch):
    file = tmp_path / "file"
    file.write_text("mine")
    monkeypatch.setattr(session, "run", None)  # it does not come that far
    assert refused(capsys, file / below).startswith(f"cannot write to {file / below}: ")
    assert file.read_text() == "mine"


def test_resume_without_a_checkpoint(tmp_path, capsys):
    path = tmp_path / checkpoint.NAME
    assert refused(capsys, tmp_path, "--resume") == f"there is no {path}: start without --resume"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A checkpoint after two steps."""
    fields = settings.Settings
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "Settings", lambda **c: fields(**{"sizes": (64, 6, 10), **c}))
        assert main(["demo", "--report", str(folder), *ABOUT, "--framework", "torch"]) == 0
    return folder / checkpoint.NAME


def header(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def changed(good, path, change, meta=None):
    tensors = load_file(good)
    change(tensors)
    save_file(tensors, path, header(good) if meta is None else meta)


BROKEN = {
    "empty": (lambda good, path: path.write_bytes(b""), "is damaged or no safetensors file"),
    "truncated": (
        lambda good, path: path.write_bytes(good.read_bytes()[:-100]),
        "is damaged or no safetensors file",
    ),
    "half a header": (
        lambda good, path: path.write_bytes(good.read_bytes()[:50]),
        "is damaged or no safetensors file",
    ),
    "pickle": (
        lambda good, path: path.write_bytes(b"\x80\x04\x95" + 100 * b"x"),
        "is damaged or no safetensors file",
    ),
    "foreign": (
        lambda good, path: save_file({"w": np.zeros(3)}, path),
        "is no checkpoint of the demo",
    ),
    "foreign header": (
        lambda good, path: save_file({"w": np.zeros(3)}, path, {checkpoint.KEY: "[1]"}),
        "is no checkpoint of the demo",
    ),
    "no moment": (
        lambda good, path: changed(good, path, lambda t: t.pop("torch/m/norm1.bias")),
        "is damaged: it has no torch/m/norm1.bias",
    ),
    "another shape": (
        lambda good, path: changed(good, path, lambda t: t.update(losses=np.zeros((1, 5)))),
        "is damaged: losses is float64 (1, 5), expected float64 (1, 2)",
    ),
    "folder": (lambda good, path: path.mkdir(), ""),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_checkpoint(kind, good, tmp_path, capsys):
    make, says = BROKEN[kind]
    path = tmp_path / checkpoint.NAME
    make(good, path)
    before = path.read_bytes() if path.is_file() else None
    line = refused(capsys, tmp_path, "--resume", "--framework", "torch")
    assert str(path) in line
    assert says in line
    assert before is None or path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seed", "5"], "seed was 0, now it is 5"),
        (["--lr", "0.1"], "lr was 0.002, now it is 0.1"),
        (["--dtype", "float64"], "dtype was 'float32', now it is 'float64'"),
        (["--framework", "jax"], "frameworks was ['torch'], now it is ['jax']"),
    ],
)
def test_checkpoint_of_another_run(options, says, good, tmp_path, capsys):
    path = tmp_path / checkpoint.NAME
    path.write_bytes(good.read_bytes())
    line = refused(capsys, tmp_path, "--resume", "--framework", "torch", *options)
    assert line == f"{path} belongs to another run: {says}"
    assert path.read_bytes() == good.read_bytes()


def test_checkpoint_of_a_longer_run(good, tmp_path, capsys):
    path = tmp_path / checkpoint.NAME
    path.write_bytes(good.read_bytes())
    line = refused(capsys, tmp_path, "--resume", "--framework", "torch", "--steps", "1")
    assert line == f"{path} is at step 2, expected at most 1, the steps of this run"


def test_checkpoint_is_no_pickle(good):
    assert good.read_bytes()[8:9] == b"{"  # safetensors: the length of a JSON header, the header
    assert set(header(good)) == {checkpoint.KEY}
