"""The walk: its numbers against the formulas written out, what it refuses, what it catches."""

import argparse
import importlib
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rich")

from bpx.__main__ import main
from bpx.demo import walk

VALUES = {"x": 0.7, "y": -1.3} | {
    f"{p}{k}": v
    for p, row in {"b": (0.3, -0.2, 1.1, 0.9), "w": (1.7, 0.6, -0.8, 2.2)}.items()
    for k, v in enumerate(row)
}


def model(v):
    inner = math.exp(v["b1"] + v["w1"] * math.sin(v["b0"] + v["w0"] * v["x"]))
    return (v["b3"] + v["w3"] * math.cos(v["b2"] + v["w2"] * inner) - v["y"]) ** 2


def test_forward_is_the_formula():
    found = walk.by_hand(VALUES)
    assert list(found)[:8] == ["f0", "h1", "f1", "h2", "f2", "h3", "f3", "loss"]
    assert found["loss"] == pytest.approx(model(VALUES), rel=1e-14)


def test_pass_1_goes_from_the_last_to_the_first():
    assert walk.PASS_1 == ("df3", "dh3", "df2", "dh2", "df1", "dh1", "df0")


def test_gradients_are_those_of_the_formula():
    found = walk.by_hand(VALUES)
    for name in walk.PASS_2:
        h = 1e-6
        near, far = ({**VALUES, name[1:]: VALUES[name[1:]] + s} for s in (-h, h))
        assert found[name] == pytest.approx((model(far) - model(near)) / (2 * h), rel=1e-7)


def test_pass_2_comes_from_pass_1():
    found = {**VALUES, **walk.by_hand(VALUES)}
    for k in range(4):
        assert found[f"db{k}"] == found[f"df{k}"]
        h = found[f"h{k}"] if k else found["x"]
        assert found[f"dw{k}"] == pytest.approx(h * found[f"df{k}"], rel=1e-15)


def test_output(capsys):
    for name in ("torch", "jax"):
        pytest.importorskip(name)
    assert main(["walk"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for text in ("forward", "pass 1", "pass 2", "torch", "jax", "finite difference", "h2 df2"):
        assert text in out
    for name in (*walk.PASS_1, *walk.PASS_2):
        assert f"dl/{name} " in out
    mine = walk.by_hand(walk.read(arguments()))
    row = next(line for line in out.splitlines() if "dl/dw2" in line)
    numbers = [float(cell) for cell in row.split("│")[3:7]]
    assert numbers == [pytest.approx(mine["dw2"], rel=1e-7)] * 4


def arguments(*given):
    parser = argparse.ArgumentParser()
    walk.add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.parametrize(
    "options",
    [
        ["--x", "0"],
        ["--x=-1e-3", "--beta", "-1e-3", "-.5", "0", "2"],
        ["--omega", "0", "0", "0", "0"],
        ["--x", "1e4", "--y", "-1e3"],
        ["--beta", "1", "5", "0", "0"],
        ["--x", "1e-300", "--omega", "1e-300", "1", "1", "1"],
    ],
)
def test_other_numbers(options, capsys):
    assert main(["walk", *options]) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--x", "abc"], "--x has 'abc', expected a finite number"),
        (["--y", "inf"], "--y has 'inf', expected a finite number"),
        (["--beta", "1", "2", "nan", "4"], "--beta has 'nan', expected a finite number"),
        (["--omega", "1", "2"], "--omega has 2 numbers, expected 4"),
        (["--beta", "0", "800", "0", "0"], "h2 is inf: these numbers leave the range of float64"),
        (["--x", "1e300"], "f0 is 1e+299, expected at most 1.07374e+09 in size"),
    ],
)
def test_bad_numbers(options, says, capsys):
    assert main(["walk", *options]) == 2
    assert capsys.readouterr() == ("", f"bpx walk: {says}\n")


@pytest.mark.parametrize("missing", ["torch", "jax"])
def test_missing_framework_is_said(missing, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, f"bpx_{missing}.demo", raising=False)
    other = {"torch": "jax", "jax": "torch"}[missing]
    pytest.importorskip(other)
    assert main(["walk"]) == 0
    out, err = capsys.readouterr()
    assert err == f"bpx walk: {missing} is not installed: pip install 'bpx[{missing}]'\n"
    assert missing not in out
    assert other in out


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("entry", ["affine", "sin", "exp", "cos", "mse"])
def test_a_wrong_rule_is_found(framework, entry, capsys, monkeypatch):
    pytest.importorskip(framework)
    rules = importlib.import_module(f"bpx_{framework}").RULES
    plain = rules[entry].plain

    def backward(dy, arrays, residuals, needs, **options):
        grads = plain.backward(dy, arrays, residuals, needs, **options)
        return tuple(None if g is None else (1 + 1e-12) * g for g in grads)

    wrong = rules[entry].with_plain(replace(plain, backward=backward))
    monkeypatch.setitem(rules, entry, wrong)
    assert main(["walk"]) == 1
    err = capsys.readouterr().err
    assert f"by {framework}: more than" in err
    assert "finite difference" not in err


def test_a_wrong_specification_is_found(capsys, monkeypatch):
    """By the finite difference, which no derivative formula enters."""

    def wrong(dy, x):
        return (dy * -1.0001 * np.sin(x),)

    ops = (replace(op, backward=wrong) if op.name == "cos" else op for op in walk.bpx.ALL)
    monkeypatch.setattr(walk.bpx, "ALL", tuple(ops))
    assert main(["walk"]) == 1
    assert "by finite difference: more than" in capsys.readouterr().err
