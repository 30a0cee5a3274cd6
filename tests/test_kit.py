"""The kit against bugs planted in the syntax tree of specs and rules: every one must be caught."""

import importlib

import numpy as np
import pytest

from bpx.verify.legs import verify_backward, verify_forward, verify_oracle, verify_spec
from bpx.verify.mutate import mutants

# module under bpx, bpx_torch, bpx_jax; what to break; name of the rule or entry it defines
TARGETS = [
    ("layers.layer_norm", "forward", "RULE"),
    ("layers.layer_norm", "backward", "RULE"),
    ("layers.linear", "backward", "RULE"),
    ("layers.softmax", "backward", "RULE"),
    ("layers.prelu", "backward", "RULE"),
    ("losses.cross_entropy", "forward", "RULE"),
    ("losses.cross_entropy", "backward", "RULE"),
    ("activations.scalar", "SIN", "SIN"),
    ("activations.scalar", "COS", "COS"),
]

# Mutants that compute the same function, by what their description ends with, and why.
EQUIVALENT: dict[str, str] = {}


def first_failure(findings):
    """The first failed finding, or the exception the broken rule raised."""
    try:
        for finding in findings:
            if not finding.ok:
                return str(finding)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def same(description):
    return next((why for end, why in EQUIVALENT.items() if description.endswith(end)), None)


def arithmetic(rule, runner):
    """The legs on arithmetic, float64, plain kernel."""
    yield from verify_forward(rule, runner, "plain", "float64")
    yield from verify_backward(rule, runner, "plain", "float64")


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize(("path", "target", "name"), TARGETS)
def test_broken_rules_are_caught(framework, path, target, name):
    pytest.importorskip(framework)
    runner = importlib.import_module(f"bpx_{framework}.verify").RUNNER()
    module = importlib.import_module(f"bpx_{framework}.{path}")
    assert first_failure(arithmetic(getattr(module, name), runner)) is None
    planted, missed = 0, []
    for mutant in mutants(module, target):
        if framework == "jax" and planted >= 12:
            break  # each costs tracing; torch takes them all
        planted += 1
        if first_failure(arithmetic(mutant.namespace[name], runner)) is None:
            missed.append(mutant.description)
    assert planted >= 4
    assert not [m for m in missed if same(m) is None], missed


@pytest.mark.parametrize("target", ["forward", "backward"])
@pytest.mark.parametrize(
    "path", ["layers.layer_norm", "layers.softmax", "losses.cross_entropy", "losses.mse"]
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
            missed.append(mutant.description)
    assert not [m for m in missed if same(m) is None], missed


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
