"""python -m bpx verify: the table, the exit codes, and every bad input in one line."""

import json

import pytest

from bpx.__main__ import main
from bpx.rule import Kernel
from bpx.verify import Finding, Report
from bpx.verify.finding import compare

pytest.importorskip("rich")


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_clean(framework, capsys, tmp_path):
    pytest.importorskip(framework)
    target = tmp_path / "rows.json"
    names = ["sin", "square"]
    code = main(
        ["verify", *names, "--framework", framework, "--dtype", "float64", "--json", str(target)]
    )
    out = capsys.readouterr().out
    assert code == 0, out
    assert " 0 failed" in out
    rows = json.loads(target.read_text())
    assert {r["entry"] for r in rows} == set(names)
    legs = {leg for r in rows for leg in r["legs"]}
    assert {"spec", "forward", "backward", "autodiff", "fd", "structure"} <= legs


def test_broken_rule_exits_1_and_names_the_argument(capsys, monkeypatch):
    pytest.importorskip("torch")
    import bpx_torch.verify as module

    rule = module.RULES["sin"]

    def backward(dy, *args, **options):
        return (1.001 * rule.plain.backward(dy, *args, **options)[0],)

    broken = rule.with_plain(Kernel("plain", rule.plain.forward, backward, rule.plain.tangent))
    monkeypatch.setattr(module.TorchRunner, "rules", {**module.RULES, "sin": broken})
    assert main(["verify", "sin", "--framework", "torch", "--dtype", "float32"]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert "torch sin[plain] backward" in out
    assert ": dx " in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["verify", "layernorm"], "there is no 'layernorm'; did you mean layer_norm"),
        (["verify", "sin", "--framework", "torch", "--device", "cuda"], "device is 'cuda'"),
        (["verify", "sin", "--framework", "jax", "--device", "cuda"], "device is 'cuda'"),
        (
            ["verify", "sin", "--dtype", "float64", "--json", "/no/such/folder/x"],
            "cannot write /no",
        ),
    ],
)
def test_bad_input(argv, message, capsys):
    if "cuda" in argv:
        framework = pytest.importorskip(argv[argv.index("--framework") + 1])
        in_torch = framework.__name__ == "torch"
        if framework.cuda.is_available() if in_torch else framework.default_backend() == "gpu":
            pytest.skip("there is a CUDA GPU here")
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1, err


def test_no_framework_is_said(monkeypatch, capsys):
    import bpx.verify.command as command

    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert main(["verify", "sin"]) == 2
    assert "neither torch nor jax is installed" in capsys.readouterr().err


def test_report_counts_what_was_not_run():
    report = Report(
        [
            Finding("a", "torch", "plain", "backward", "c", "dx", eps=2.0, ratio=0.5),
            Finding("a", "torch", "plain", "backward", "c", "dx", skipped="no GPU"),
            Finding("a", "torch", "plain", "backward", "c", "dw", eps=9.0, ratio=1.5),
        ]
    )
    (row,) = report.rows()
    assert (row["compared"], row["skipped"], row["failed"]) == (2, 1, 1)
    assert report.skips() == {"no GPU": 1}
    with pytest.raises(AssertionError, match=r"dw 9.0 eps, 1.5 of its bound"):
        report.check()


@pytest.mark.parametrize(
    ("got", "want", "message"),
    [
        (None, [1.0], "is absent, expected an array"),
        ([1.0, 2.0], [1.0], "has shape (2,), expected (1,)"),
        ([float("nan")], [1.0], "holds nan where a finite value is expected"),
        ([1.0], [float("inf")], "is 1.0 where inf is expected"),
    ],
)
def test_compare_names_what_is_wrong(got, want, message):
    assert message in compare(got, want, 1e-12, "float64")[2]
