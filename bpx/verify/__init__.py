"""The verification kit: a rule against its spec, autodiff, calculus and a framework's transforms.

`verify_op` runs every leg on one entry in one framework; `verify_rule` checks anyone's rule against
a plain reference function. Both return findings; `Report` gathers and judges them.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpx.rule import Rule
from bpx.verify.candidate.api import verify_rule
from bpx.verify.candidate.arguments import Float, Index, Mask
from bpx.verify.candidate.optimizer import verify_optimizer
from bpx.verify.candidate.others import verify_initializer, verify_module
from bpx.verify.finding import Finding
from bpx.verify.legs import (
    LEGS,
    verify_backward,
    verify_fd,
    verify_forward,
    verify_oracle,
    verify_spec,
    verify_structure,
)
from bpx.verify.report import Report
from bpx.verify.runner import Runner

DTYPES = ("float64", "float32", "bfloat16")

__all__ = [
    "DTYPES",
    "LEGS",
    "Finding",
    "Float",
    "Index",
    "Mask",
    "Report",
    "verify_initializer",
    "verify_module",
    "verify_op",
    "verify_optimizer",
    "verify_rule",
    "verify_spec",
]


def verify_op(
    rule: Rule, runner: Runner, dtypes: tuple[str, ...] = DTYPES, kernels: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """Every leg but `spec` for one rule: each of its kernels (or those named) in each dtype."""
    if "float64" in dtypes:
        yield from verify_oracle(rule, runner)
    for kernel in kernels or tuple(k.name for k in rule.kernels):
        for dtype in dtypes:
            yield from verify_forward(rule, runner, kernel, dtype)
            yield from verify_backward(rule, runner, kernel, dtype)
        if "float64" in dtypes:
            yield from verify_fd(rule, runner, kernel)
            yield from verify_structure(rule, runner, kernel)
