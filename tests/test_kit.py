"""The kit against bugs planted in the syntax tree of specs and rules: every one must be caught."""

import importlib

import numpy as np
import pytest

from bpx.verify.legs import generic, verify_backward, verify_forward, verify_oracle, verify_spec
from bpx.verify.mutate import mutants

# module under bpx, bpx_torch, bpx_jax; what to break; name of the rule or entry it defines
TARGETS = [
    ("layers.layer_norm", "forward", "RULE"),
    ("layers.layer_norm", "backward", "RULE"),
    ("layers.linear", "backward", "RULE"),
    ("layers.softmax", "backward", "RULE"),
    ("layers.prelu", "backward", "RULE"),
    ("activations.scalar", "SIN", "SIN"),
    ("activations.scalar", "COS", "COS"),
]

# Lines whose mutants compute the same function, and why.
EQUIVALENT = {
    "if total == 0:": "what it keeps out is masked below, and only warns",
    "dnll = np.where(keep, (1 - label_smoothing) * dloss, 0)": "times wy, which is 0 there",
    "dwy = dwy + dtotal": "dwy is zero before",
    "dw = dw - np.where(keep[..., None], dsmooth * logp, 0).reshape(-1,": "any negative size",
    "g = g.expand(wy.shape).masked_fill(ignored, 0.0)": "every use of g is masked once more",
    "dwy = (g * dwy + 0 * wy).masked_fill(ignored, 0.0)": "0 * wy is there for NaN alone",
    "return (loss.sum() / total if total != 0 else 0 * total), residuals": "total is 0 there",
    "dsmooth = np.where(keep, label_smoothing / logits.shape[-1] * dloss, 0)": "masked below",
}
JAX_PLANTS = 6  # each costs tracing, and torch takes them all


def first_failure(findings):
    """The first failed finding, or the exception the broken rule raised."""
    try:
        for finding in findings:
            if not finding.ok:
                return str(finding)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def same(mutant):
    return next((why for line, why in EQUIVALENT.items() if mutant.line.startswith(line)), None)


def arithmetic(rule, runner):
    """The legs on arithmetic, float64, plain kernel; which arguments; what the engine would sum."""
    yield from verify_forward(rule, runner, "plain", "float64")
    yield from verify_backward(rule, runner, "plain", "float64")
    for check in ("needs", "raw return"):
        runner.checks[check](runner, rule, "plain", generic(rule.spec), "float64")


@pytest.mark.parametrize(
    ("framework", "path", "target", "name"),
    [
        *(("torch", *t) for t in TARGETS),
        *(("jax", *t) for t in TARGETS),
        # many cases: in JAX these alone would take a minute
        ("torch", "losses.cross_entropy", "forward", "RULE"),
        ("torch", "losses.cross_entropy", "backward", "RULE"),
    ],
)
def test_broken_rules_are_caught(framework, path, target, name):
    pytest.importorskip(framework)
    runner = importlib.import_module(f"bpx_{framework}.verify").RUNNER()
    module = importlib.import_module(f"bpx_{framework}.{path}")
    assert first_failure(arithmetic(getattr(module, name), runner)) is None
    planted, missed = 0, []
    for mutant in mutants(module, target):
        if framework == "jax" and planted >= JAX_PLANTS:
            break
        planted += 1
        if first_failure(arithmetic(mutant.namespace[name], runner)) is None:
            missed.append(mutant)
    assert planted
    assert not [f"{m.description} in {m.line}" for m in missed if same(m) is None]


@pytest.mark.parametrize("target", ["forward", "backward"])
@pytest.mark.parametrize(
    "path", ["layers.layer_norm", "layers.softmax", "losses.cross_entropy", "layers.prelu"]
)
def test_broken_specs_are_caught(path, target):
    """By calculus, or by the framework's own operation: a consistent error in both directions."""
    pytest.importorskip("torch")
    from bpx_torch.verify import TorchRunner

    runner = TorchRunner()
    module = importlib.import_module(f"bpx.{path}")
    rule = runner.rules[module.SPEC.name]
    missed = []
    for mutant in mutants(module, target):
        spec = mutant.namespace["SPEC"]
        caught = first_failure(verify_spec(spec))
        if caught is None:
            caught = first_failure(verify_oracle(type(rule)(spec, (rule.plain,)), runner))
        if caught is None:
            missed.append(mutant)
    assert not [f"{m.description} in {m.line}" for m in missed if same(m) is None]


def test_a_mutant_is_never_a_comment():
    """Every mutant differs from the original in what it does, not in where it stands."""
    module = importlib.import_module("bpx.layers.layer_norm")
    descriptions = [m.description for m in mutants(module, "backward")]
    assert len(descriptions) >= 20
    draw = np.random.default_rng(0).standard_normal
    x, w, b, dy = draw((2, 3)), draw(3), draw(3), draw((2, 3))
    want = module.backward(dy, x, w, b, eps=1e-5)
    silent = 0
    for m in mutants(module, "backward"):
        try:
            got = m.namespace["backward"](dy, x, w, b, eps=1e-5)
            silent += all(
                np.shape(g) == np.shape(v) and np.allclose(g, v, rtol=1e-12)
                for g, v in zip(got, want, strict=True)
            )
        except Exception:
            continue
    assert silent <= len(descriptions) // 4, "mutants that change nothing on generic inputs"


def test_unknown_target():
    module = importlib.import_module("bpx.layers.layer_norm")
    with pytest.raises(LookupError, match="no function or assignment 'nothing'"):
        next(mutants(module, "nothing"))
