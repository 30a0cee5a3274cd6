"""The pytest plugin `bpx`: a fixture, a marker, one test id for each check.

    def test_by_one_call(verify_rule):
        verify_rule(my_rule, [Float("N", "D")], ref=plain)

    @pytest.mark.bpx_rule(my_rule, [Float("N", "D")], ref=plain)
    def test_by_checks(bpx_check):
        bpx_check()              # test_by_checks[my_rule::layout::dy-transposed] and so on

`--bpx-budget` gives every call of the fixture so many seconds, which it spends on more seeds where
its plan leaves some; `--bpx-seed` is another first seed. The ids are those of the plan, so that
pytest-xdist spreads them over its workers. Where Hypothesis is installed, it draws sizes and edge
values for one of the checks (`drawn::hypothesis`), by that seed.
"""

from __future__ import annotations

from typing import Any

import pytest


def pytest_addoption(parser: Any) -> None:
    group = parser.getgroup("bpx", "gradients of your own rules")
    group.addoption("--bpx-budget", type=float, help="seconds a call of verify_rule may take")
    group.addoption("--bpx-seed", type=int, default=0, help="the first seed of every rule")


def pytest_configure(config: Any) -> None:
    config.addinivalue_line(
        "markers", "bpx_rule(rule, args, **how): a rule whose checks `bpx_check` runs one by one"
    )


@pytest.fixture(name="verify_rule")
def _verify_rule(request: Any) -> Any:
    """bpx.verify.verify_rule with the options of the command line; raises at a failure."""
    from bpx.verify import verify_rule

    config = request.config
    defaults = {"budget": config.getoption("--bpx-budget"), "seed": config.getoption("--bpx-seed")}

    def run(rule: Any, args: Any, **how: Any) -> Any:
        return verify_rule(rule, args, **{**defaults, **how}).check()

    return run


def pytest_generate_tests(metafunc: Any) -> None:
    if "bpx_check" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("bpx_rule")
    if marker is None:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: bpx_check needs @pytest.mark.bpx_rule(rule, args, ...)"
        )
    from bpx.verify.candidate import api

    how = {"seed": metafunc.config.getoption("--bpx-seed"), **marker.kwargs}
    quick, full = how.pop("quick", False), how.pop("full", False)
    trial = api.prepare(*marker.args, **how)
    planned = api.plan(trial, quick=quick, full=full, draw=True)
    metafunc.parametrize(
        "bpx_check",
        [_Judged(trial, check) for check in planned],
        ids=[f"{trial.name}::{check.id}" for check in planned],
    )


class _Judged:
    """One check of a rule, as a call that fails, skips or passes."""

    def __init__(self, trial: Any, check: Any) -> None:
        self.trial, self.check = trial, check

    def __call__(self) -> None:
        from bpx.verify.candidate import api
        from bpx.verify.candidate.reproduce import script

        report = api.judge(self.trial, [self.check])
        if report.failures:
            text = "\n\nreproduce:\n\n" + script(report.trial, report.failures[0])
            try:
                report.check()
            except AssertionError as error:
                pytest.fail(str(error) + text, pytrace=False)
        made = [f for f in report.findings if f.leg == self.check.family and not f.skipped]
        if not made:
            pytest.skip("; ".join(report.skips()) or "nothing to compare")
