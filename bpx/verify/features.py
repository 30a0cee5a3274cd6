"""What a rule does in its framework beyond a gradient, from its record, in words for a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bpx.rule import Rule
from bpx.verify.finding import Finding
from bpx.verify.legs import generic
from bpx.verify.runner import Runner

YES, NO, UNPROVEN = "yes", "no", "not checked"
# framework -> column -> the structural check that has to have been run, and passed, behind a "yes"
CHECKED: Mapping[str, Mapping[str, str]] = {
    "torch": {
        "vmap": "vmap",
        "fullgraph compile": "hand-written ran",
        "backward twice": "second derivative",
        "forward mode": "forward mode",
        "hessian by forward mode": "hessian",
    },
    "jax": {
        "vmap": "vmap",
        "jit": "jit",
        "scan, checkpoint": "hand-written ran",
        "backward twice": "second derivative",
        "jvp of grad": "hessian",
    },
}


def features(rule: Rule, runner: Runner) -> dict[str, str]:
    """Column -> what the rule's plain kernel does, from the records alone: nothing is run."""
    case, dtypes = generic(rule.spec), ("float64", "float32", "bfloat16", "float16")
    taken = [d for d in dtypes if not runner.refusal(rule, "plain", case, d)]
    found = {"dtypes": "all" if taken == list(dtypes) else ", ".join(taken)}
    found |= dict.fromkeys(CHECKED[runner.name], YES)
    if runner.name == "jax":
        # a custom_vjp has no jvp, a gradient has; that of a surrogate is no second derivative
        found |= {"jvp of grad": UNPROVEN} if rule.spec.surrogate else {}
        return found | {"jvp": NO}
    if rule.spec.surrogate:
        found["hessian by forward mode"] = UNPROVEN
    if rule.plain.tangent is None:
        found |= {"forward mode": NO, "hessian by forward mode": NO}
    policies = getattr(rule, "autocast", {})
    found["autocast"] = ", ".join(
        policy if not device else f"{policy} on {device}" for device, policy in policies.items()
    )
    return found


def unfounded(rule: Rule, runner: Runner, findings: Iterable[Finding]) -> list[str]:
    """Columns that say "yes" where the check behind them was not run or failed."""
    said = features(rule, runner)
    passed = {f.what for f in findings if f.ok and not f.skipped and f.kernel == "plain"}
    checked = CHECKED[runner.name].items()
    return [column for column, check in checked if said[column] == YES and check not in passed]
