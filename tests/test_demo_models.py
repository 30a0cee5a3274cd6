"""The demo's other models, tiny, for a few steps: lockstep, resuming, what they report."""

import contextlib
import io
import re

import numpy as np
import pytest

for name in ("torch", "jax", "sklearn", "matplotlib", "rich", "jinja2", "safetensors"):
    pytest.importorskip(name)

from bpx.__main__ import main
from bpx.demo import checkpoint, language, lockstep, session, settings, text
from bpx_jax import demo as jax_demo
from bpx_torch import demo as torch_demo

pytestmark = pytest.mark.slow

TINY = {
    "cnn": (4, 4, 8, 10),
    "rnn": (6, 10),
    "transformer": (8, 12, 2, 1),
    "gan": (5, 8),
}
ABOUT = ("--steps", "4", "--batch-size", "6", "--dtype", "float64")
HALF = "half.safetensors"
MODELS = pytest.mark.parametrize("model", TINY)


def shrink(patch, model):
    """The model with fewer units, and less to judge it by; its learning rate falls within the
    few steps."""
    more = {"decay": 5} if model != "transformer" else {}
    patch.setitem(settings.MODELS, model, {**settings.MODELS[model], "sizes": TINY[model], **more})
    patch.setattr(language, "JUDGED", 8)
    patch.setattr(language, "WRITTEN", 4)
    patch.setattr(text, "MODULES", ["bisect", "heapq", "queue"])


def demo(folder, model, *options):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(["demo", "--model", model, "--report", str(folder), *ABOUT, *options])
    return code, out.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """model -> folder, what was printed; each run once. The checkpoint after two steps is kept."""
    made = {}

    def run(model):
        if model not in made:
            folder = tmp_path_factory.mktemp(model)
            save = checkpoint.save

            def keep(path, state, about):
                save(path if state.step == 4 else folder / HALF, state, about)

            with pytest.MonkeyPatch.context() as patch:
                shrink(patch, model)
                patch.setattr(checkpoint, "save", keep)
                code, out = demo(folder, model, "--checkpoint-every", "2")
            assert code == 0, out
            made[model] = folder, out
        return made[model]

    return run


@MODELS
def test_lockstep(model, runs):
    """The two curves agree as far as the dtype goes; every step learns or at least moves."""
    from safetensors.numpy import load_file

    folder, out = runs(model)
    assert "DOES NOT HOLD" not in out
    tensors = load_file(folder / checkpoint.NAME)
    gaps = lockstep.differences(tensors["losses"])
    assert gaps.shape == (4,)
    assert gaps.max() < 1e-12
    moved = [k for k in tensors if k.startswith("torch/params/")]
    before = load_file(folder / HALF)
    assert moved
    for k in moved:
        assert not np.array_equal(tensors[k], before[k]), k
        np.testing.assert_allclose(tensors[k], tensors[k.replace("torch", "jax")], atol=1e-9)


@MODELS
def test_resumed_run_is_the_uninterrupted_one(model, runs, tmp_path, monkeypatch):
    folder, _ = runs(model)
    shrink(monkeypatch, model)
    # what comes before and after the training is that of the other run
    monkeypatch.setattr(session.verification, "verify", lambda *args: [])
    monkeypatch.setattr(session.report, "write", lambda *args: None)
    monkeypatch.setattr(torch_demo.Trainer, "saved", lambda *args: {})
    monkeypatch.setattr(jax_demo.Trainer, "saved", lambda *args: {})
    (tmp_path / checkpoint.NAME).write_bytes((folder / HALF).read_bytes())
    code, out = demo(tmp_path, model, "--resume")
    assert code == 0
    assert "going on after step 2 of 4" in out
    assert (tmp_path / checkpoint.NAME).read_bytes() == (folder / checkpoint.NAME).read_bytes()


@MODELS
def test_report(model, runs):
    page = (runs(model)[0] / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]{2}|@import|<script|<link|<img|url\((?!#)", _shown(page))
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    words = {
        "cnn": ["test accuracy, torch", "conv2.weight", "shifted by up to 1 pixel"],
        "rnn": ["test accuracy, jax", "lstm.weight_hh", "row by row"],
        "transformer": ["bigram model", "attention1", "nats per character", "Written by jax"],
        "gan": ["ln 2", "Generated digits, torch", "discriminator&#39;s accuracy", "grey levels"],
    }[model]
    for word in words:
        assert word in page, word
    assert page.count("<svg") == {"gan": 9}.get(model, 4)


def _shown(page):
    return re.sub(r"data:image/png;base64,[\w+/=]*", "", page)


def test_gan_has_two_losses(runs):
    from safetensors.numpy import load_file

    folder, out = runs("gan")
    tensors = load_file(folder / checkpoint.NAME)
    assert tensors["losses"].shape == (2, 4, 2)
    assert "discriminator, torch" in out
    # each loss moves its own network alone; the same t for both
    assert {k.split("/")[2].split(".")[0] for k in tensors if k.startswith("jax/m/")} == {
        "generator",
        "discriminator",
    }
    assert tensors["jax/t"] == tensors["torch/t"] == 4


@pytest.mark.parametrize("model", ["cnn", "gan"])
def test_a_checkpoint_of_another_model(model, runs, tmp_path, capsys, monkeypatch):
    shrink(monkeypatch, model)
    other = {"cnn": "rnn", "gan": "cnn"}[model]
    path = tmp_path / checkpoint.NAME
    path.write_bytes((runs(other)[0] / checkpoint.NAME).read_bytes())
    assert demo(tmp_path, model, "--resume")[0] == 2
    says = f"model was '{other}', now it is '{model}'"
    assert capsys.readouterr().err == f"bpx demo: {path} belongs to another run: {says}\n"


def test_refuses(tmp_path, capsys, monkeypatch):
    shrink(monkeypatch, "transformer")
    for options, says in (
        (("--model", "gan", "--batch-size", "1438"), "at most 1437, the training images"),
        (("--model", "transformer", "--batch-size", "99999"), "the training windows"),
        (("--model", "vae"), "invalid choice: 'vae'"),
    ):
        try:
            code = main(["demo", "--report", str(tmp_path), *options])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert says in err
    monkeypatch.setattr(text, "MODULES", ["no_such_module"])
    assert main(["demo", "--model", "transformer", "--report", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "there is no source of no_such_module" in err
