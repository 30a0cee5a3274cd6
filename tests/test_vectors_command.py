"""python -m bpx vectors --check: the exit codes, what is named, and every mistake in one line."""

import importlib.util
import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from bpx.__main__ import main
from bpx.convert.files import of_bytes, to_bytes

pytest.importorskip("rich")
NAMES = ["relu", "layer_norm"]
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "third_framework.py"


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    assert main(["vectors", str(folder), "--only", *NAMES]) == 0
    return folder


def right(vectors, name):
    arrays = of_bytes(name, (vectors / f"{name}.safetensors").read_bytes())[0]
    keys = [k.replace("/bounds/", "/", 1) for k in arrays if "/bounds/" in k]
    return {k: arrays[k].astype(k.split("/")[1]) for k in keys}


def put(folder, name, results):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(to_bytes(results, {}))


@pytest.fixture
def results(vectors, tmp_path):
    for name in NAMES:
        put(tmp_path / "results", name, right(vectors, name))
    return tmp_path / "results"


def copied(vectors, folder):
    folder.mkdir()
    for path in vectors.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_right_results_exit_0(vectors, results, capsys):
    assert main(["vectors", str(vectors), "--check", str(results)]) == 0
    out = capsys.readouterr().out
    assert "2 entries, 112 arrays compared, 0 wrong" in out, out
    assert "not compared" not in out


def test_the_specification_stands_in_for_the_folder(vectors, results, capsys):
    (results / "manifest.json").write_bytes((vectors / "manifest.json").read_bytes())
    assert main(["vectors", "--check", str(results)]) == 0
    assert " 0 wrong" in capsys.readouterr().out
    wrong = right(vectors, "relu")
    wrong["2d/float32/gradients/x"] *= np.float32(1.001)
    put(results, "relu", wrong)
    assert main(["vectors", "--check", str(results)]) == 1
    assert "WRONG relu: 2d/float32/gradients/x is off by" in capsys.readouterr().out


def test_residuals_may_be_left_out(vectors, results):
    put(
        results,
        "layer_norm",
        {k: a for k, a in right(vectors, "layer_norm").items() if "/res" not in k},
    )
    assert main(["vectors", str(vectors), "--check", str(results)]) == 0


def without(key):
    return lambda r: r.pop(key)


def changed(key, f):
    return lambda r: r.update({key: f(r[key])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("2d/float64/y"), "2d/float64/y is missing"),
        (without("wide/float32/gradients/x"), "wide/float32/gradients/x is missing"),
        (
            lambda r: r.update({"2d/float64/grad/x": np.ones(3)}),
            "2d/float64/grad/x is not asked for",
        ),
        (lambda r: r.update(y=np.ones(3)), "relu: y is not asked for"),
        (changed("2d/float64/y", lambda a: a.T.copy()), "2d/float64/y has shape ("),
        (changed("2d/float64/y", lambda a: a * np.nan), "2d/float64/y holds nan where a finite"),
        (changed("2d/float64/y", lambda a: a.astype("f4")), "2d/float64/y is off by"),
        # at 0 the vectors have slope 0
        (
            changed("kinks 0/float64/gradients/x", lambda a: a + 0.5),
            "kinks 0/float64/gradients/x is",
        ),
    ],
)
def test_what_is_wrong_is_named_and_exits_1(change, message, vectors, results, capsys):
    wrong = right(vectors, "relu")
    change(wrong)
    put(results, "relu", wrong)
    assert main(["vectors", str(vectors), "--check", str(results), "--partial"]) == 1
    assert message in capsys.readouterr().out


def test_a_wrong_residual_is_named(vectors, results, capsys):
    wrong = right(vectors, "layer_norm")
    wrong["3d/float32/residuals/rstd"] *= np.float32(1.01)
    put(results, "layer_norm", wrong)
    assert main(["vectors", str(vectors), "--check", str(results)]) == 1
    assert "layer_norm: 3d/float32/residuals/rstd is off by" in capsys.readouterr().out


def test_what_has_no_result_is_wrong_without_partial(vectors, results, capsys):
    put(results, "relu", {k: a for k, a in right(vectors, "relu").items() if "/float32/" in k})
    (results / "layer_norm.safetensors").unlink()
    command = ["vectors", str(vectors), "--check", str(results)]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "WRONG layer_norm: its file is missing" in out
    assert "WRONG relu: wide/float64/y is missing" in out
    assert main([*command, "--partial"]) == 0
    out = capsys.readouterr().out
    assert "not compared: 6 cases without any result" in out
    assert "not compared: 1 entries without results, such as layer_norm" in out
    assert main([*command, "--only", "layer_norm"]) == 1


def test_a_file_without_vectors_is_named(vectors, results, capsys):
    put(results, "layernorm", {"2d/float64/y": np.ones(3)})
    assert main(["vectors", str(vectors), "--check", str(results), "--partial"]) == 1
    assert "WRONG layernorm: there are no vectors of it" in capsys.readouterr().out


def test_textbook_allows_the_rounding_of_the_largest_and_no_more(vectors, results):
    command = ["vectors", str(vectors), "--check", str(results), "--only", "relu"]
    for factor, codes in ((0.5, (1, 0)), (40.0, (1, 1))):
        wrong = right(vectors, "relu")
        y = wrong["2d/float64/y"]
        y[y == 0] += factor * 8 * 2.0**-53 * y.max()  # where relu is 0, its bound is 1e-307
        put(results, "relu", wrong)
        assert (main(command), main([*command, "--textbook"])) == codes


def shortened(name, folder):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-5])


def rewritten(**change):
    def edit(vectors, results):
        path = vectors / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda v, r: (v / "manifest.json").unlink(),
            "cannot read {v}/manifest.json: No such file",
        ),
        (lambda v, r: shortened("manifest.json", v), "manifest.json is damaged or no manifest"),
        (lambda v, r: (v / "manifest.json").write_text("[1]"), "is damaged or no manifest"),
        (rewritten(format=7), "manifest.json has format 7, expected 1"),
        (rewritten(entries={"relu": {}}), "manifest.json is damaged or no manifest"),
        (
            lambda v, r: (v / "relu.safetensors").unlink(),
            "cannot read {v}/relu.safetensors: No such",
        ),
        (lambda v, r: shortened("relu.safetensors", v), "relu.safetensors is not the file of its"),
        (lambda v, r: put(v, "relu", {"y": np.ones(3)}), "is not the file of its manifest: sha256"),
        (
            lambda v, r: shortened("relu.safetensors", r),
            "{r}/relu.safetensors is damaged: it ends at",
        ),
        (
            lambda v, r: (r / "relu.safetensors").write_text("no"),
            "relu.safetensors is no safetensors",
        ),
        (lambda v, r: [p.unlink() for p in r.iterdir()], "vectors: {r} has no results"),
        (lambda v, r: r.rename(r.parent / "x"), "vectors: there is no folder {r}"),
        (lambda v, r: [put(r, n, {}) for n in NAMES], "vectors: nothing of {r} was compared"),
    ],
)
def test_what_cannot_be_checked_exits_2_in_one_line(
    edit, message, vectors, results, tmp_path, capsys
):
    folder = copied(vectors, tmp_path / "vectors")
    edit(folder, results)
    assert main(["vectors", str(folder), "--check", str(results), "--partial"]) == 2
    err = capsys.readouterr().err
    assert message.format(v=folder, r=results) in err, err
    assert err.count("\n") == 1


def test_other_vectors_than_this_bpx_writes_exit_2(vectors, results, capsys):
    manifest = json.loads((vectors / "manifest.json").read_text())
    manifest["entries"]["relu"]["sha256"] = "0" * 64
    (results / "manifest.json").write_text(json.dumps(manifest))
    assert main(["vectors", "--check", str(results)]) == 2
    assert "this bpx writes other vectors of relu than those" in capsys.readouterr().err
    manifest["entries"]["new"] = manifest["entries"].pop("relu")
    (results / "manifest.json").write_text(json.dumps(manifest))
    put(results, "new", {})
    assert main(["vectors", "--check", str(results), "--only", "relu"]) == 2
    assert "has no vectors of relu" in capsys.readouterr().err
    assert main(["vectors", "--check", str(results)]) == 2
    assert "this bpx has no new: name the vectors' folder, too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "vectors: OUT is missing, expected the folder to write to"),
        (["x", "--partial"], "--partial and --textbook need --check DIR"),
        (["x", "--only", "layernorm"], "there is no 'layernorm'; did you mean layer_norm"),
        (["/dev/null/x"], "vectors: cannot write /dev/null/x: Not a directory"),
    ],
)
def test_mistakes_exit_2(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["vectors", *argv]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    importlib.util.find_spec("tinygrad") is None, reason="tinygrad is not installed"
)
def test_the_example_answers_in_another_framework(vectors, tmp_path, monkeypatch, capsys):
    pytest.importorskip("safetensors")
    monkeypatch.setenv("DEV", os.environ.get("DEV", "PYTHON"))
    monkeypatch.setattr(sys, "argv", ["x", str(vectors), str(tmp_path / "results"), *NAMES])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    command = ["vectors", str(vectors), "--check", str(tmp_path / "results")]
    assert main([*command, "--textbook"]) == 0, capsys.readouterr().out
