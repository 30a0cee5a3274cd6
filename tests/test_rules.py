"""Every rule in PyTorch and in JAX, in every kernel and dtype, through the legs of the kit.

The legs `oracle` and `own` are test_oracles.py."""

import importlib
import importlib.util

import numpy as np
import pytest

from bpx.spec import SpecError
from bpx.verify import DTYPES, Report
from bpx.verify.features import unfounded
from bpx.verify.legs import (
    verify_backward,
    verify_fd,
    verify_forward,
    verify_structure,
)

RULES = {
    f: importlib.import_module(f"bpx_{f}").RULES
    for f in ("torch", "jax")
    if importlib.util.find_spec(f)
}
RULE = [
    pytest.param(framework, rule, id=f"{framework}-{name}")
    for framework, rules in RULES.items()
    for name, rule in rules.items()
]
RULE_KERNEL = [
    pytest.param(framework, rule, k.name, id=f"{framework}-{name}-{k.name}")
    for framework, rules in RULES.items()
    for name, rule in rules.items()
    for k in rule.kernels
]


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_framework(framework):
    """Where a framework is missing, its rules are not run, and this is where it is said."""
    if framework not in RULES:
        pytest.skip(f"{framework} is not installed: none of its rules were run")


@pytest.fixture(scope="module")
def runners(device):
    found = {f: importlib.import_module(f"bpx_{f}.verify").RUNNER for f in RULES}
    if "jax" in found:
        from tests.together import Together

        found["jax"] = Together
    return {f: runner(device) for f, runner in found.items()}


@pytest.fixture
def runner(runners, framework):
    return runners[framework]


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
@pytest.mark.parametrize(("framework", "rule", "kernel"), RULE_KERNEL)
def test_forward(rule, kernel, dtype, runner, judge):
    judge(verify_forward(rule, runner, kernel, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("framework", "rule", "kernel"), RULE_KERNEL)
def test_backward(rule, kernel, dtype, runner, judge):
    # tests/test_oracles.py holds the spec against the framework's own operation, in one compilation
    judge(verify_backward(rule, runner, kernel, dtype, own=False))


@pytest.mark.parametrize(("framework", "rule", "kernel"), RULE_KERNEL)
def test_finite_differences(rule, kernel, runner, judge):
    judge(verify_fd(rule, runner, kernel))


@pytest.mark.parametrize(("framework", "rule", "kernel"), RULE_KERNEL)
def test_structure(rule, kernel, runner, judge):
    """Every check passes, and behind every "yes" of docs/features.md there is one that was run."""
    findings = list(verify_structure(rule, runner, kernel))
    judge(findings)
    assert kernel != "plain" or not unfounded(rule, runner, findings)


@pytest.mark.parametrize(("framework", "rule"), RULE)
def test_rejects(rule, runner, framework, device, record_property):
    """Each stated mistake raises its sentence here too, wrong values and dtypes included."""
    for reject in rule.spec.rejects:
        if framework == "torch" and device != "cpu" and reject.values:
            record_property("not run", f"values on a GPU are not looked at: {reject.message}")
            continue
        arrays = []
        for arg in rule.spec.args:
            shape = reject.shapes.get(arg.name)
            if shape is None:
                arrays.append(None)
                continue
            a = np.random.default_rng(3).standard_normal(shape)
            if arg.kind == "index":
                a = np.zeros(shape, np.int64)
            if arg.kind in ("bits", "mask", "key"):
                a = np.zeros(shape, {"bits": "uint8", "mask": "bool", "key": "uint32"}[arg.kind])
            a = np.asarray(reject.values.get(arg.name, a))
            a = a.astype(reject.dtypes.get(arg.name, a.dtype))
            arrays.append(runner.array(a, "float64"))
        with pytest.raises(SpecError) as caught:
            rule(*arrays, **reject.options)
        assert reject.message in str(caught.value), str(caught.value)
