"""The demo: lockstep, resuming, what it refuses, its report. Small networks, a few steps."""

import contextlib
import dataclasses
import functools
import importlib
import io
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

for name in ("torch", "jax", "sklearn", "matplotlib", "rich", "jinja2", "safetensors"):
    pytest.importorskip(name)

from bpx import random
from bpx.__main__ import main
from bpx.demo import checkpoint, digits, lockstep, network, session, settings
from bpx.demo.command import trainers
from bpx.demo.lockstep import differences
from bpx.demo.settings import Settings
from bpx.rule import Kernel

ROOT = Path(__file__).resolve().parent.parent
SMALL = (64, 12, 8, 10)
ABOUT = ("--steps", "6", "--batch-size", "16")


def shrink(patch):
    """The demo's network, with fewer units."""
    patch.setattr(settings, "Settings", functools.partial(Settings, sizes=SMALL))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


def demo(folder, *options):
    return main(["demo", "--report", str(folder), *ABOUT, *options])


def last_state(folder, *, frameworks=("torch", "jax")):
    from safetensors.numpy import load_file

    tensors = load_file(folder / checkpoint.NAME)
    assert {k.split("/")[0] for k in tensors} == {*frameworks, "losses", "statistics"}
    return tensors


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of six steps that nothing stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        shrink(patch)
        assert demo(folder) == 0
    return folder, out.getvalue()


# the command on the small network, in a process of its own
SCRIPT = f"""
import functools, sys
from bpx.demo import settings
settings.Settings = functools.partial(settings.Settings, sizes={SMALL})
from bpx.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_says_what_held_and_where_the_report_is(whole):
    folder, out = whole
    for text in ("torch", "jax", "linear3.bias", "autodiff", "other framework", "spec"):
        assert text in out
    assert re.search(r"losses, largest relative difference.*holds", out)
    assert re.search(r"test accuracy .*after 96 of 21120 images.*not judged", out)
    assert str(folder / "report.html") in out


def test_report_needs_nothing_else(whole):
    page = (whole[0] / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|<img|url\((?!#)", page)
    assert page.count("<svg") == 4
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'(?:href="|url\()#([^")]*)', page)} <= set(ids)
    for text in ("prefers-color-scheme: dark", "viewport", "whole network", "norm2.bias"):
        assert text in page
    assert not re.search(r"#0[1-6]0[1-6]0[1-8]", page), "a colour that the style sheet does not set"


def crew_of(dtype, seed=1):
    chosen = settings.Settings(dtype=dtype, batch_size=16)
    keys = random.split(random.key(seed), 3)
    model = network.mlp(SMALL)
    crew = trainers(["torch", "jax"], chosen, model, model.initial(keys[2], dtype))
    return crew, digits.load(keys[0], keys[1], dtype), chosen


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lockstep(dtype):
    crew, data, chosen = crew_of(dtype)
    for name, a in crew[0].state().items():
        b = crew[1].state()[name]
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes(), name
    end = lockstep.train(crew, data, chosen, lockstep.start(crew, 5), 60)
    assert end.losses.shape == (2, 60)
    # two runs of one program would not differ; far below the limit, since the run is short
    assert 0 < differences(end.losses).max() < (2e-5 if dtype == "float32" else 2e-13)
    assert end.losses[0, -9:].mean() < 0.9 * end.losses[0, :9].mean()
    assert end.arrays["torch"]["params/linear1.weight"].dtype == dtype
    assert end.arrays["jax"]["t"] == 60
    # a norm is that of the gradient, variances agree with it where the mean is near 0
    batch = dataclasses.astuple(data.batch(60, 16))
    rows = [t.step(*batch)[1] for t in crew]
    np.testing.assert_allclose(*rows, rtol=1e-3 if dtype == "float32" else 1e-10)
    grads = np.concatenate([g.ravel() for g in _first_layer(crew[0], data.batch(61, 16))])
    norm, variance = crew[0].step(*dataclasses.astuple(data.batch(61, 16)))[1][0]
    assert (norm, variance) == pytest.approx((np.linalg.norm(grads), grads.var()), rel=1e-5)


def _first_layer(trainer, batch):
    found = trainer.gradients(batch.x, batch.y)
    return found["linear1.weight"], found["linear1.bias"]


@pytest.mark.parametrize("where", ["after", "within"])
def test_resumed_run_is_the_uninterrupted_one(where, whole, tmp_path, capsys, monkeypatch):
    """Stopped between two steps, or between the two frameworks within one."""
    train = session.train

    def stopped(crew, *args):
        after = args[-1]

        def stop(*state):
            if where == "within" or state[0].step == 3:
                raise KeyboardInterrupt
            after(*state)

        if where == "within":
            step, calls = crew[1].step, iter(range(99))
            crew[1].step = lambda *b: stop() if next(calls) == 3 else step(*b)
            return train(crew, *args)
        return train(crew, *args[:-1], stop)

    with monkeypatch.context() as patch:
        patch.setattr(session, "train", stopped)
        assert demo(tmp_path) == 130
    out = capsys.readouterr().out
    assert "stopped after step 3 of 6" in out
    assert re.search(r"to go on: python -m bpx demo .*--steps 6.*--resume", out)
    assert not (tmp_path / "report.html").exists()
    assert demo(tmp_path, "--resume") == 0
    assert "going on after step 3 of 6" in capsys.readouterr().out
    for name in ("report.html", checkpoint.NAME):
        assert (tmp_path / name).read_bytes() == (whole[0] / name).read_bytes()


def test_ctrl_c(tmp_path):
    options = ("--framework", "torch", "--steps", "1000000", "--report", str(tmp_path))
    command = [sys.executable, "-c", SCRIPT, "demo", *options, "--checkpoint-every", "1"]
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while not (tmp_path / checkpoint.NAME).exists() and time.monotonic() < end:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    try:
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, err) == (130, "")
    step = int(re.search(r"stopped after step (\d+) of 1000000", out)[1])
    tensors = last_state(tmp_path, frameworks=("torch",))
    assert tensors["losses"].shape == (1, step)
    assert tensors["torch/t"] == step
    assert {p.name for p in tmp_path.iterdir()} == {checkpoint.NAME}


def test_ctrl_c_during_a_write_is_not_lost():
    done = []

    def write():
        with checkpoint.uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_finished_run_can_go_on(whole, tmp_path):
    data = (whole[0] / checkpoint.NAME).read_bytes()
    (tmp_path / checkpoint.NAME).write_bytes(data)
    assert demo(tmp_path, "--resume", "--steps", "8") == 0
    longer, before = last_state(tmp_path)["losses"], last_state(whole[0])["losses"]
    assert longer.shape == (2, 8)
    np.testing.assert_array_equal(longer[:, :6], before)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_state_goes_to_the_other_framework(framework):
    """What one trainer saves the other can go on from: the next losses agree."""
    crew, data, _ = crew_of("float64")
    first, second = crew if framework == "torch" else crew[::-1]
    for k in range(3):
        first.step(*dataclasses.astuple(data.batch(k, 16)))
    second.load(first.state())
    for k in range(3, 6):
        batch = dataclasses.astuple(data.batch(k, 16))
        np.testing.assert_allclose(first.step(*batch)[0], second.step(*batch)[0], rtol=1e-13)


@pytest.mark.parametrize(("framework", "entry"), [("torch", "gelu"), ("jax", "layer_norm")])
def test_a_wrong_rule_is_not_trained_with(framework, entry, tmp_path, capsys, monkeypatch):
    rules = importlib.import_module(f"bpx_{framework}").RULES
    plain = rules[entry].plain

    def backward(dy, arrays, residuals, needs, **options):
        dx, *rest = plain.backward(dy, arrays, residuals, needs, **options)
        return 1.001 * dx, *rest

    wrong = Kernel("plain", plain.forward, backward)
    monkeypatch.setitem(rules, entry, rules[entry].with_plain(wrong))
    assert demo(tmp_path) == 1
    out = capsys.readouterr().out
    assert "not trained: a gradient is beyond its limit" in out
    assert f"linear1.weight ({framework})" in out
    assert not list(tmp_path.iterdir())


def test_a_limit_that_does_not_hold_is_exit_1(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(lockstep.LOSS_LIMIT, "float32", 1e-12)
    assert demo(tmp_path) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 of 3 limits did not hold" in page
