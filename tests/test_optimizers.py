"""The specification's optimizers: records, rejects, and bugs the trajectory check must see."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import numpy as np
import pytest

from bpx.optimizers import ALL
from bpx.spec import Optimizer, SpecError
from tests.trajectories import (
    LIMITS,
    TOLERANCE,
    complete,
    gradients,
    parameters,
    spec_stepper,
    trajectory,
    worst,
)

by_name = {spec.name: spec for spec in ALL}


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
def test_record_is_consistent(spec: Optimizer) -> None:
    names = list(inspect.signature(spec.step).parameters)[4:]
    assert names == list(spec.options)
    assert not by_name.keys() - {s.path.removeprefix("optimizers/") for s in ALL}
    for trial in spec.trials:
        spec.check(complete(spec, trial))
        assert set(spec.init(np.ones((2, 2)), **complete(spec, trial))) <= set(spec.state)
    for name, default in spec.options.items():
        assert any(name in t and t[name] != default for t in spec.trials), f"{name} is never tried"


def test_no_limit_is_looser_than_promised() -> None:
    assert all(TOLERANCE < limit <= 1e-10 for limit in LIMITS.values())
    assert LIMITS.keys() <= by_name.keys()


@pytest.mark.parametrize(
    ("spec", "reject"),
    [(s, r) for s in ALL for r in s.rejects],
    ids=lambda x: getattr(x, "name", ""),
)
def test_rejects(spec: Optimizer, reject: Any) -> None:
    with pytest.raises(SpecError) as caught:
        spec.check(complete(spec, reject.options))
    assert reject.message in str(caught.value)
    assert str(caught.value).startswith(spec.name + ": ")


def run(spec: Optimizer, step: Any, trial: dict[str, Any], steps: int = 8) -> Any:
    held = parameters(spec)
    changed = Optimizer(**{**vars(spec), "step": step})
    with np.errstate(all="ignore"):
        return trajectory(
            spec_stepper(changed, [complete(spec, trial)] * len(held), held),
            gradients(spec, absent=True, steps=steps),
        )


def compiled(spec: Optimizer, tree: ast.AST) -> Any:
    scope = dict(vars(inspect.getmodule(spec.step)))
    code = compile(ast.fix_missing_locations(tree), spec.path, "exec")
    exec(code, scope)
    return scope["step"]


OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div}  # any other becomes Mult


class Swap(ast.NodeTransformer):
    """Changes the n-th operator, comparison or constant it meets; `said` tells what it did."""

    def __init__(self, target: int) -> None:
        self.target, self.met, self.said = target, 0, ""

    def here(self, what: str) -> bool:
        self.met += 1
        if self.met - 1 == self.target:
            self.said = what
        return self.met - 1 == self.target

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [self.visit(line) for line in node.body]  # and no annotation
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        new = OPERATORS.get(type(node.op), ast.Mult)
        if self.here(f"line {node.lineno}: {ast.unparse(node)} with {new.__name__}"):
            node.op = new()
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if self.here(f"line {node.lineno}: branches of {ast.unparse(node)} exchanged"):
            node.body, node.orelse = node.orelse, node.body
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) in (int, float) and self.here(f"line {node.lineno}: {node.value} + 1"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        return node


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
def test_every_operator_matters(spec: Optimizer) -> None:
    source = textwrap.dedent(inspect.getsource(spec.step))
    wants = [run(spec, spec.step, trial) for trial in spec.trials]
    survivors, target = [], 0
    while True:
        swap = Swap(target)
        tree = swap.visit(ast.parse(source))
        if not swap.said:
            break
        target += 1
        step = compiled(spec, tree)
        assert step.__code__.co_code != spec.step.__code__.co_code or (
            step.__code__.co_consts != spec.step.__code__.co_consts
        )
        for trial, want in zip(spec.trials, wants, strict=True):
            try:
                if worst(run(spec, step, trial), want)[0] > 1e3 * TOLERANCE:
                    break
            except (ZeroDivisionError, IndexError, KeyError, TypeError, ValueError):
                break
        else:
            survivors.append(swap.said)
    assert target > 5
    assert survivors == []


# (bug, text of the specification's step, what the bug makes of it)
BUGS = {
    "adam": (
        (
            "eps inside the root",
            "(np.sqrt(v_hat + eps_root) + eps)",
            "np.sqrt(v_hat + eps_root + eps)",
        ),
        ("no bias correction", "m / (1 - b1**t) if", "m if"),
        ("no bias correction of v", "c2 = 1 - b2**t if", "c2 = 1.0 if"),
        (
            "eps before the bias correction",
            "v_hat = v / c2",
            "v_hat = v / c2; eps = eps / np.sqrt(c2)",
        ),
        ("betas swapped", "b1, b2 = betas", "b2, b1 = betas"),
        ("step counted from 0", "b1, b2 = betas", "b1, b2 = betas; t = max(t - 1, 1)"),
        ("eps beside the corrected root", "if eps_hat:", "if False:"),
        ("maximum of corrected v", "v_hat if max_corrected else v)", "v_hat)"),
    ),
    "adamw": (
        ("decay coupled", "p = p - lr * weight_decay * p", "g = g + weight_decay * p"),
        ("decay without lr", "p = p - lr * weight_decay * p", "p = p - weight_decay * p"),
        (
            "eps inside the root",
            "(np.sqrt(v_hat + eps_root) + eps)",
            "np.sqrt(v_hat + eps_root + eps)",
        ),
        ("decay after the step", "return p, out", "return p - lr * weight_decay * p, out"),
    ),
    "sgd": (
        (
            "dampened first buffer",
            "buf = g if t == 1 else",
            "buf = (1 - dampening) * g if t == 1 else",
        ),
        (
            "decay after momentum",
            "p = p + outside * d",
            "p = p + outside * d - lr * weight_decay * p",
        ),
        ("rate outside the momentum", "(-lr, 1.0) if", "(1.0, -lr) if"),
    ),
    "rmsprop": (("eps inside the root", "(np.sqrt(s) + eps)", "np.sqrt(s + eps)"),),
    "adagrad": (("rate counted from 1", "(t - 1) * lr_decay", "t * lr_decay"),),
    "adadelta": (
        ("eps outside the roots", "np.sqrt(v + eps)", "(np.sqrt(v) + eps)"),
        ("lr in the mean of squares", "(1 - rho) * d * d", "(1 - rho) * (lr * d) ** 2"),
        ("mean of squares before the step", 'np.sqrt(state["u"] + eps)', "np.sqrt(v + eps)"),
    ),
    "rprop": (
        ("step taken where the sign turned", "g = np.where(turn < 0, 0.0, g)", "pass"),
        ("zeroed for the step alone", '{"prev": g,', '{"prev": g + (turn < 0),'),
        ("etas swapped", "old * eta", "old * np.where(turn < 0, plus, minus)"),
        ("clamped always", "size if clamp_unchanged else", "size if True else"),
    ),
    "adamax": (
        ("eps outside the maximum", "np.abs(g) + eps)", "np.abs(g)) + eps"),
        ("infinity moment corrected", "else u)", "else u / (1 - b2**t))"),
        ("decay coupled", "if decoupled_weight_decay:", "if False:"),
    ),
    "nadam": (
        ("constant momentum", "0.96 ** (t * momentum_decay)", "0.0"),
        ("moment decays by mu", "m = b1 * state", "m = mu * state"),
        ("no product with the next", "(1 - product * ahead)", "(1 - product)"),
    ),
    "radam": (
        ("strict", "rho >= threshold if", "rho > threshold if"),
        ("not strict", "else rho > threshold", "else rho >= threshold"),
        ("never rectified", "if rho >= threshold if inclusive else rho > threshold", "if False"),
        ("eps corrected", "if eps_corrected:", "if True:"),
    ),
    "lion": (
        (
            "direction from the new momentum",
            "np.sign(c)",
            'np.sign(b2 * state["m"] + (1 - b2) * g)',
        ),
        ("betas swapped", "b1, b2 = betas", "b2, b1 = betas"),
        ("decay without lr", "(np.sign(c) + weight_decay * p)", "np.sign(c) - weight_decay * p"),
    ),
}


@pytest.mark.parametrize(
    ("name", "bug"), [(n, b) for n, bugs in BUGS.items() for b in bugs], ids=lambda x: x[0][:40]
)
def test_planted_bug_is_caught(name: str, bug: tuple[str, str, str]) -> None:
    spec, (what, old, new) = by_name[name], bug
    source = textwrap.dedent(inspect.getsource(spec.step))
    assert source.count(old) == 1
    source = source.replace(old, new)
    if what == "decay after the step":
        source = source.replace("    p = p - lr * weight_decay * p\n", "", 1)
    if what == "decay after momentum":
        source = source.replace("g = g + weight_decay * p", "pass", 1)
    step = compiled(spec, ast.parse(source))
    errors = [worst(run(spec, step, t), run(spec, spec.step, t))[0] for t in spec.trials]
    assert max(errors) > 1e6 * TOLERANCE, what
