"""python -m bpx health: the table, the page, what it refuses, and a wrong diagnosis."""

from dataclasses import replace

import pytest

for name in ("torch", "matplotlib", "jinja2"):
    pytest.importorskip(name)

from bpx.__main__ import main
from bpx.demo import specimens

pytestmark = pytest.mark.slow


def test_table_and_page(tmp_path, capsys):
    assert main(["health", "dead relu", "log of 0", "--report", str(tmp_path), "--seed", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split()[:4] == ["dead", "ReLU", "dead", "dead"]
    assert out[2].split()[:5] == ["log", "of", "0", "non-finite", "non-finite"]
    assert out[3] == "2 of 2 are named as planted"
    text = (tmp_path / "health.html").read_text("utf-8")
    assert text.count("<svg") == 2
    assert "2 of 2 named as planted" in text
    for word in (
        "every bias starts at -10",
        "leaky ReLU",
        "update / weight",
        'href="#log-of-0"',
    ):
        assert word in text
    assert 'id="log-of-0"' in text


def test_a_wrong_diagnosis_is_said(tmp_path, capsys, monkeypatch):
    good = next(s for s in specimens.ALL if s.name == "ReLU by He")
    monkeypatch.setattr(specimens, "ALL", (replace(good, fault="dead"),))
    assert main(["health", "--report", str(tmp_path)]) == 1
    assert "0 of 1 are named as planted, not ReLU by He" in capsys.readouterr().out
    assert "0 of 1 named as planted" in (tmp_path / "health.html").read_text("utf-8")


def test_list(capsys):
    assert main(["health", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(specimens.ALL)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["spam"], "there is no network 'spam'; python -m bpx health --list has them all"),
        (["--seed", "-1"], "--seed is '-1', expected a whole number, 0 or more"),
        (["--seed", "x"], "--seed is 'x', expected a whole number, 0 or more"),
        (["--report", __file__], f"cannot write to {__file__}: "),
    ],
)
def test_refuses(argv, says, capsys):
    assert main(["health", *argv]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith(f"bpx: {says}")
