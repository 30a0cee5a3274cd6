"""Every rule in PyTorch, in every kernel and dtype, through every leg of the kit."""

import numpy as np
import pytest

pytest.importorskip("torch")

from bpx.spec import SpecError
from bpx.verify import DTYPES, Report
from bpx.verify.legs import (
    verify_backward,
    verify_fd,
    verify_forward,
    verify_oracle,
    verify_structure,
)
from bpx_torch import RULES
from bpx_torch.verify import TorchRunner

RULE_KERNELS = [
    pytest.param(rule, k.name, id=f"{name}-{k.name}")
    for name, rule in RULES.items()
    for k in rule.kernels
]


@pytest.fixture(scope="module")
def runner(device):
    return TorchRunner(device)


@pytest.fixture
def judge(record_property):
    """Fail on any failure; with nothing compared, skip by name with the reasons."""

    def of(findings):
        report = Report(findings)
        report.check()
        for reason, count in report.skips().items():
            record_property("not run", f"{count} x {reason}")
        if not report.compared:
            pytest.skip("; ".join(report.skips()))
        record_property("worst eps", max(f.eps for f in report.findings))

    return of


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rule", "kernel"), RULE_KERNELS)
def test_forward(rule, kernel, dtype, runner, judge):
    judge(verify_forward(rule, runner, kernel, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rule", "kernel"), RULE_KERNELS)
def test_backward(rule, kernel, dtype, runner, judge):
    judge(verify_backward(rule, runner, kernel, dtype))


@pytest.mark.parametrize(("rule", "kernel"), RULE_KERNELS)
def test_finite_differences(rule, kernel, runner, judge):
    judge(verify_fd(rule, runner, kernel))


@pytest.mark.parametrize(("rule", "kernel"), RULE_KERNELS)
def test_structure(rule, kernel, runner, judge):
    judge(verify_structure(rule, runner, kernel))


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_oracle(rule, runner, judge):
    judge(verify_oracle(rule, runner))


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_rejects(rule, runner):
    """Each stated mistake raises its sentence here too, wrong values and dtypes included."""
    for reject in rule.spec.rejects:
        arrays = []
        for arg in rule.spec.args:
            shape = reject.shapes.get(arg.name)
            if shape is None:
                arrays.append(None)
                continue
            a = np.random.default_rng(3).standard_normal(shape)
            if arg.kind == "index":
                a = np.zeros(shape, np.int64)
            if arg.kind == "bits":
                a = np.zeros(shape, np.uint8)
            a = np.asarray(reject.values.get(arg.name, a))
            a = a.astype(reject.dtypes.get(arg.name, a.dtype))
            arrays.append(runner.tensor(a, "float64"))
        with pytest.raises(SpecError) as caught:
            rule(*arrays, **reject.options)
        assert reject.message in str(caught.value), str(caught.value)
