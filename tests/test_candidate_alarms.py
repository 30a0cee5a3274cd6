"""No alarm from correct functions of torch, of JAX and of bpx; and what is said of torch itself.

Here some of them; every one is counted by `python -m bpx verify --self-test --full`.
"""

import importlib

import pytest

import bpx
from bpx.verify import Float, Index, verify_rule

# under "error" what torch warns of would be the rule's crash
pytestmark = pytest.mark.filterwarnings("ignore")
KEPT = {
    "torch": ("gelu", "softmax", "layer_norm", "rms_norm", "linear", "avg_pool1d", "embedding",
              "scaled_dot_product_attention", "cross_entropy weighted", "huber_loss", "kl_div"),
    "jax": ("silu",),
}  # fmt: skip


@pytest.mark.parametrize(
    ("framework", "name"), [(f, n) for f, names in KEPT.items() for n in names]
)
def test_correct_functions_raise_no_alarm(framework, name):
    pytest.importorskip(framework)
    known = importlib.import_module(f"bpx_{framework}.zoo.correct").CORRECT
    report = {c.name: c for c in known}[name].report(framework).check()
    assert report.compared > 60


def test_what_is_found_in_torch_itself():
    pytest.importorskip("torch")
    from bpx_torch.zoo.correct import FOUND

    first = {c.name: c.report("torch").caught_by() for c in FOUND}
    assert set(first) == {"hardsigmoid", "sigmoid", "logsumexp", "soft_margin_loss", "conv1d"}
    assert "vjp" in first["hardsigmoid"]
    assert first["sigmoid"] == ["value", "scale"]
    assert "value" in first["soft_margin_loss"]
    assert first["logsumexp"] == ["scale"]
    assert "shape" in first["conv1d"]


OWN = {
    "affine": [Float("*N"), Float(), Float()],
    "layer_norm": [Float("*N D")],  # its weight and bias are optional, and left out
    # the rule keeps the rounded logsumexp, which costs |logsumexp| eps where logits are large
    "cross_entropy": [Float("*N V", low=-8.0, high=8.0), Index("*N", below="V")],
}


@pytest.mark.parametrize("name", OWN)
def test_rules_of_bpx_against_their_entries(name):
    pytest.importorskip("torch")
    import bpx_torch

    entry = {e.name: e for e in bpx.ALL}[name]
    sizes = {"D": (5, 3, 9)} if name == "layer_norm" else {}
    rule, left_out = bpx_torch.RULES[name], [None] * (len(entry.args) - len(OWN[name]))

    def given(*arrays):
        return rule(*arrays, *left_out)

    verify_rule(given, OWN[name], spec=entry, framework="torch", sizes=sizes).check()


def test_arguments_too_large_together_are_left_out():
    """A square matrix of 70 000 rows is not made; the rest is checked."""
    torch = pytest.importorskip("torch")
    report = verify_rule(
        lambda w: torch.tanh(w @ w.T),
        [Float("H", "H", low=-0.5, high=0.5)],
        ref=lambda w: torch.tanh(torch.einsum("ik,jk->ij", w, w)),
        framework="torch",
        quick=False,
        dtypes=("float32",),
        only=("width", "vjp"),
    )
    assert not report.failures
    assert not any(f.leg == "width" for f in report.findings)


def test_a_rule_that_clips_its_incoming_gradient_has_a_broken_twin():
    """A twin made by a larger dy would be clipped to the same gradient, and pass."""
    pytest.importorskip("torch")
    entry = {e.name: e for e in bpx.ALL}["gradient_clip_norm"]
    import bpx_torch

    report = verify_rule(
        bpx_torch.RULES["gradient_clip_norm"], [Float("*N")], spec=entry, surrogate=True,
        linear=False, framework="torch", only="kit",
    )  # fmt: skip
    assert not report.failures
