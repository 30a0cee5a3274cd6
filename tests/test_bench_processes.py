"""python -m bpx bench --processes: the rounds of several processes, pooled."""

import json
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import pytest

from bpx import _bench_processes
from bpx.__main__ import main
from bpx._bench_processes import pooled

TINY = ("--repeat", "2", "--seconds", "60", "--size", "small", "--framework", "torch")


def test_two_processes(tmp_path, capsys):
    pytest.importorskip("torch")
    file = tmp_path / "bench.json"
    pages = ("--json", str(file), "--page", str(tmp_path))
    assert main(["bench", "sin", "layer_norm", "sgd", *TINY, "--processes", "2", *pages]) == 0
    report = json.loads(file.read_text())
    assert report["processes"] == 2
    # in the order of the entries, whatever theirs was
    assert [row["entry"] for row in report["rows"]] == ["sin", "layer_norm", "sgd"]
    for row in report["rows"]:
        assert "place" not in row
        assert row["failed"] == {}
        assert all(c["rounds"] == len(c["times"]) == 4 for c in row["candidates"])
    assert "layer_norm" in capsys.readouterr().out
    assert "pools the rounds of 2 processes" in (tmp_path / "bench.md").read_text()


def candidate(name, times, beside="own"):
    ratio = {"median": 9.0, "low": 9.0, "high": 9.0}
    about = {"name": name, "default": name == "cpu", "beside": beside, "saved": None, "peak": 7}
    return {**about, "seconds": 9.0, "rounds": len(times), "ratio": ratio, "times": times}


def row(entry, place, own, cpu=None, failed=None, dtype="float32", framework="torch"):
    made = [candidate("own", own)] if own else []
    made += [candidate("cpu", cpu)] if cpu else []
    about = {"framework": framework, "dtype": dtype, "entry": entry, "place": place}
    return {**about, "failed": failed or {}, "refused": {}, "candidates": made}


def report(*rows, frameworks=("torch", "jax")):
    return {"bpx": "1", "frameworks": {f: {} for f in frameworks}, "rows": list(rows)}


def test_the_rounds_are_put_together_round_by_round():
    first = report(row("b", 1, [1.0, 2.0], [3.0, 1.0]), row("a", 0, [4.0], [1.0]))
    second = report(row("a", 0, [1.0], [5.0]), row("b", 1, [10.0], [5.0]))
    found = pooled([first, second], ["float32"])
    assert found["bpx"] == "1"
    assert [r["entry"] for r in found["rows"]] == ["a", "b"]
    own, cpu = found["rows"][1]["candidates"]
    assert own["seconds"] == 2.0
    assert own["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert cpu["times"] == [3.0, 1.0, 5.0]
    assert cpu["rounds"] == 3
    assert cpu["ratio"] == {"median": 0.5, "low": 0.5, "high": 1.75}  # of 3, 0.5 and 0.5
    assert cpu["peak"] == 7


def test_rows_come_in_the_order_of_frameworks_dtypes_and_places():
    rows = [
        row("a", 0, [1.0], framework="jax"),
        row("c", 1, [1.0], dtype="bfloat16"),
        row("b", 0, [1.0], dtype="bfloat16"),
        row("d", 5, [1.0]),
    ]
    found = pooled([report(*rows)], ["float32", "bfloat16"])
    assert [r["entry"] for r in found["rows"]] == ["d", "b", "c", "a"]


def test_what_an_interrupt_left_out_and_what_failed():
    short = report(row("a", 0, [2.0], [2.0]))
    whole = report(
        row("c", 2, []), row("b", 1, [1.0], [4.0]), row("a", 0, [1.0], failed={"cpu": "broke"})
    )
    a, b, c = pooled([short, whole], ["float32"])["rows"]
    assert a["failed"] == {"cpu": "broke"}
    assert [x["times"] for x in a["candidates"]] == [[2.0], [2.0]]  # those of the whole round
    assert b["candidates"][1]["ratio"]["median"] == 4.0
    assert c["candidates"] == []


class Pool:
    """Stands in for a process: gives what it is told to, in turn."""

    def __init__(self, *results):
        self.results, self.made = list(results), 0

    def __call__(self, *_, **__):
        self.made += 1
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def submit(self, *_):
        return SimpleNamespace(result=self.result)

    def result(self):
        found = self.results.pop(0)
        if isinstance(found, BaseException):
            raise found
        future = Future()
        future.set_result(found)
        return future.result()


def run(monkeypatch, *results):
    pool = Pool(*results)
    monkeypatch.setattr(_bench_processes, "ProcessPoolExecutor", pool)
    return main(["bench", "sin", *TINY, "--processes", "3"]), pool


def test_a_process_that_dies(monkeypatch, capsys):
    code, _ = run(monkeypatch, (report(), False), BrokenProcessPool())
    assert code == 2
    assert "process 2 of 3 died" in capsys.readouterr().err


def test_an_interrupt_keeps_what_was_timed(monkeypatch, tmp_path):
    timed = report(row("sin", 0, [1.0], [2.0]), frameworks=())
    timed["frameworks"] = {"torch": {"torch": "2", "threads": 2}}
    timed["rows"][0] |= {"label": "small", "size": "N 1"}
    later = (timed, False), KeyboardInterrupt(), ({**timed, "rows": []}, True)
    code, pool = run(monkeypatch, *later)
    assert code == 130
    assert pool.made == 2  # no third
    code, pool = run(monkeypatch, (timed, False), KeyboardInterrupt(), BrokenProcessPool())
    assert (code, pool.made) == (130, 2)
    code, pool = run(monkeypatch, KeyboardInterrupt(), BrokenProcessPool())
    assert (code, pool.made) == (130, 1)  # nothing was timed
