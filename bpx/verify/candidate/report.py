"""What the checks of one rule found: failures, waivers, what was not run, a row per family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpx.verify.candidate.plan import FAMILIES, Outcome
from bpx.verify.finding import Finding
from bpx.verify.report import Report

HINT = (
    "values agree and gradients do not: if the rule differs from the derivative on purpose "
    "(straight-through, reversal, feedback alignment, a padded row), declare surrogate="
)


class CandidateReport(Report):
    """Findings of one rule. `outcomes` has them by check, with seconds; `spent` are seconds of this
    process."""

    def __init__(
        self, trial: Any, outcomes: Sequence[Outcome], seconds: float, spent: float = 0.0
    ) -> None:
        super().__init__(f for o in outcomes for f in o.findings)
        self.trial, self.outcomes = trial, list(outcomes)
        self.seconds, self.spent = seconds, spent
        self.name, self.framework = trial.name, trial.host.name
        self.level = trial.reference.level

    @property
    def failures(self) -> list[Finding]:
        return [f for f in self.findings if not f.ok and self.waiver(f) is None]

    def waiver(self, finding: Finding) -> str | None:
        """Why a failure of this check is accepted, None where it is not."""
        where = identity(finding)
        for start, reason in self.trial.waivers.items():
            if where == start or where.startswith(f"{start}::"):
                return str(reason)
        return None

    def waived(self) -> list[tuple[str, str, bool]]:
        """(check, reason, whether it failed at all) for every waiver."""
        found = []
        for start, reason in self.trial.waivers.items():
            hit = [f for f in self.findings if not f.ok and self.waiver(f) == reason]
            found.append((start, str(reason), bool(hit)))
        return found

    def caught_by(self) -> list[str]:
        """The families that failed, in the order of the table."""
        failed = {f.leg for f in self.failures}
        return [family for family in FAMILIES if family in failed]

    @property
    def hint(self) -> str:
        failed = {f.leg for f in self.failures}
        plain = "vjp" in failed and not failed & {"forward", "behaviour"}
        arithmetic = any(f.ratio > 1 for f in self.failures if f.leg == "vjp")
        return HINT if plain and arithmetic and not self.trial.surrogate else ""

    def families(self) -> list[dict[str, Any]]:
        """One row per family that has checks."""
        rows = []
        for family, (letter, what) in FAMILIES.items():
            of_family = [o for o in self.outcomes if o.check.family == family]
            if not of_family:
                continue
            found = [f for o in of_family for f in o.findings]
            made = [f for f in found if not f.skipped]
            rows.append(
                {
                    "family": family,
                    "letter": letter,
                    "what": what,
                    "checks": len(of_family),
                    "compared": len(made),
                    "failed": sum(not f.ok and self.waiver(f) is None for f in found),
                    "not run": sum(bool(f.skipped) for f in found),
                    "ratio": max((f.ratio for f in made), default=0.0),
                    "eps": max((f.eps for f in made), default=0.0),
                    "seconds": sum(o.seconds for o in of_family),
                }
            )
        return rows

    def check(self) -> CandidateReport:
        """Raise AssertionError with every failure, one to a line."""
        if self.failures:
            lines = [f"{self.name} ({self.framework}), {self.level}"]
            lines += [line(f) for f in self.failures]
            if self.hint:
                lines.append(self.hint)
            raise AssertionError("\n".join(lines))
        return self

    def json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return {
            "rule": self.name,
            "framework": self.framework,
            "level": self.level,
            "seed": self.trial.points.seed,
            "seconds": round(self.seconds, 3),
            "seconds of the process": round(self.spent, 3),
            "failed": len(self.failures),
            "compared": self.compared,
            "families": self.families(),
            "failures": [line(f) for f in self.failures],
            "waivers": self.waived(),
            "not run": self.skips(),
            "checks": [
                {
                    "id": f"{self.name}::{o.check.id}",
                    "seconds": round(o.seconds, 4),
                    "findings": [
                        {
                            "what": f.what,
                            "dtype": f.dtype,
                            "eps": f.eps,
                            "ratio": f.ratio,
                            "message": f.message,
                            "skipped": f.skipped,
                        }
                        for f in o.findings
                    ],
                }
                for o in self.outcomes
            ],
        }


def identity(finding: Finding) -> str:
    return f"{finding.leg}::{finding.case.replace(' ', '-')}"


def line(finding: Finding) -> str:
    """One failure in words: check, argument, by how much."""
    where = f"{finding.entry}::{identity(finding)}"
    what = f"{finding.what} " if finding.what else ""
    if finding.message:
        return f"{where}: {what}{finding.message}"
    return f"{where}: {what}is off by {finding.eps:.3g} eps, {finding.ratio:.3g} of its bound"
