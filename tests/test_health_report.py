"""Reports of bpx.health: JSON, table, page, picture, and every sentence of refusal."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest

from bpx.health import History, Parameter, Report, Sample, Thresholds, table, thresholds
from bpx.spec import SpecError
from tests.health_samples import NAN, VERDICTS, good, layer, of


@pytest.mark.parametrize("fault", VERDICTS)
def test_json_there_and_back(fault, tmp_path):
    report = Report(VERDICTS[fault], Thresholds(twins=0.91))
    report.save(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    again = Report.from_json(text)
    assert repr(again.samples) == repr(report.samples)  # NaN is not equal to itself
    assert again.findings == report.findings
    assert again.thresholds.twins == 0.91
    assert json.loads(text)["diagnosis"] == fault


def test_table_page_and_picture(tmp_path):
    pytest.importorskip("matplotlib")
    odd = Parameter("<free>", "", (3,), of(1), of(0.1))
    report = Report([good(3, b=layer("b", kind="tanh", saturated=0.6), free=odd)])
    lines = report.table().splitlines()
    assert lines[0] == "step 3"
    assert [line.split()[0] for line in lines[3:]] == ["a", "b", "c", "<free>"]
    assert {"relu", "20%", "0.01", "1"} <= set(lines[3].split())
    assert "60%" in lines[4]
    for name in ("a.txt", "a.html", "a.svg", "a.png"):
        report.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    page = report.html()
    assert "<svg" in page
    assert "&lt;free&gt;" in page
    assert "saturated" in page
    axes = report.picture().axes
    assert len(axes) == 3
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), [1, 1, 1])
    np.testing.assert_allclose(axes[2].lines[0].get_ydata(), [0.01] * 3)
    assert "no layer that dies" in Report([Sample(0, (), (odd,))]).html()


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert (
        "no picture: matplotlib is not installed: pip install &#x27;bpx[demo]&#x27;"
        in Report([good()]).html()
    )


def test_numbers_of_the_table():
    shown = [table.number(x) for x in (0, NAN, 1.23456, 1e-9, 123456.0)]
    assert shown == ["0", "nan", "1.23", "1.0e-09", "1.2e+05"]


def test_every_limit_has_a_reason():
    assert set(thresholds.REASONS) == {f.name for f in dataclasses.fields(Thresholds)}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Report([]), "samples is empty, expected at least one (a sampled step that has e"),
        (lambda: Report([good()]).table(1), "index is 1, expected -1 to 0"),
        (lambda: Report([good()]).save("a.doc"), "path is 'a.doc', expected one that ends in"),
        (lambda: Report.from_json("{}"), "text is not a report, expected JSON of format 1"),
        (lambda: Report.from_json("{"), "text is not a report (Expecting property name"),
        (lambda: Report.from_json('{"format": 1}'), "text is not a report ('samples'), exp"),
        (lambda: History(1), "keep is 1, expected a whole number, at least 2"),
        (lambda: Thresholds(dead=1.5), "dead is 1.5, expected a share, over 0 and at most 1"),
        (lambda: Thresholds(high=math.inf), "high is inf, expected a finite number over 0"),
        (lambda: Thresholds(high="x"), "high is 'x', expected a number"),
        (lambda: Thresholds(low=0.5), "low is 0.5, expected less than high, 0.3"),
    ],
)  # fmt: skip
def test_refuses(call, says):
    with pytest.raises(SpecError) as error:
        call()
    assert str(error.value).startswith(f"health: {says}")
