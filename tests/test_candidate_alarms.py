"""No alarm from correct functions of torch, of JAX and of bpx; and what is said of torch itself.

Here some of them; every one is counted by `python -m bpx verify --self-test --all`.
"""

import importlib

import pytest

import bpx
from bpx.verify import Float, verify_rule

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

    reports = {c.name: c.report("torch") for c in FOUND.values()}
    first = {name: report.caught_by() for name, report in reports.items()}
    assert set(first) == {
        "hardsigmoid", "sigmoid", "logsumexp", "soft_margin_loss", "conv1d", "bilinear",
    }  # fmt: skip
    assert "vjp" in first["hardsigmoid"]
    assert first["sigmoid"] == ["value"]
    assert "value" in first["soft_margin_loss"]
    assert first["logsumexp"] == ["scale"]
    assert "shape" in first["conv1d"]
    assert first["bilinear"] == ["dtype"]
    # over one output after the other, and in nothing else
    assert {f.dtype for f in reports["bilinear"].failures} == {"bfloat16", "float16"}
    assert {f.what[-1] for f in reports["bilinear"].failures} == {"0", "1"}


# one without an axis, one that cancels to 0 over a row of one element, one of large logits, one
# that differs from its derivative on purpose
OWN = ("affine", "layer_norm", "cross_entropy", "clipped_straight_through_sign")


@pytest.mark.parametrize("name", OWN)
def test_rules_of_bpx_against_their_entries(name):
    """With every set of arguments that may be given; all of them are in `--self-test --all`."""
    pytest.importorskip("torch")
    import bpx_torch
    from bpx.verify.candidate import api
    from bpx.verify.candidate.entries import each
    from bpx_torch.candidate.host import HOST

    rule = bpx_torch.RULES[name]
    trials = list(each(rule, HOST, dtypes=api.DTYPES))
    assert len(trials) == {"layer_norm": 4, "cross_entropy": 2}.get(name, 1)
    for trial in trials:
        api.judge(trial, api.plan(trial)).check()


def test_a_wrong_rule_of_bpx_is_found_by_its_entry_alone():
    pytest.importorskip("torch")
    import bpx_torch

    rule = bpx_torch.RULES["rms_norm"]

    def wrong(x, weight, eps):
        return rule(1.0 * x.detach() + 0.0 * x, weight, eps=eps) + 0.999 * (x - x.detach())

    report = verify_rule(wrong, spec=rule.spec, framework="torch", quick=True)
    assert {"vjp", "cotangent"} <= set(report.caught_by())
    assert not verify_rule(rule, quick=True).failures
    with pytest.raises(bpx.SpecError, match="args is None, expected a rule of bpx or spec="):
        verify_rule(rule, sizes={"D": (3,)})


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
