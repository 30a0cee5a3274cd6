"""Findings gathered into one row per primitive and kernel, and a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from bpx.verify.finding import Finding
from bpx.verify.legs import LEGS


class Report:
    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self.findings = list(findings)

    def add(self, findings: Iterable[Finding]) -> None:
        self.findings.extend(findings)

    @property
    def failures(self) -> list[Finding]:
        return [f for f in self.findings if not f.ok]

    @property
    def compared(self) -> int:
        return sum(not f.skipped for f in self.findings)

    def check(self) -> Report:
        """Raise AssertionError with every failure, one to a line."""
        if self.failures:
            raise AssertionError("\n".join(map(str, self.failures)))
        return self

    def skips(self) -> dict[str, int]:
        """Reason -> how many comparisons it kept from being made."""
        return dict(Counter(f.skipped for f in self.findings if f.skipped).most_common())

    def rows(self, by_rule: bool = True) -> list[dict[str, Any]]:
        """One row per entry, framework and kernel, or per entry alone: the worst error of each leg
        in eps and in its bound, the number of comparisons and failures."""
        groups: dict[tuple[str, ...], list[Finding]] = {}
        for f in self.findings:
            of_rule = (f.framework, f.kernel) if by_rule else ("", "")
            groups.setdefault((f.entry, *of_rule), []).append(f)
        rows = []
        for (entry, framework, kernel), found in groups.items():
            made = [f for f in found if not f.skipped]
            legs = {}
            for leg in LEGS:
                of_leg = [f for f in made if f.leg == leg]
                if of_leg:
                    legs[leg] = {
                        "eps": max(f.eps for f in of_leg),
                        "ratio": max(f.ratio for f in of_leg),
                        "compared": len(of_leg),
                        "failed": sum(not f.ok for f in of_leg),
                    }
            rows.append(
                {
                    "entry": entry,
                    "framework": framework,
                    "kernel": kernel,
                    "legs": legs,
                    "ratio": max((f.ratio for f in made), default=0.0),
                    "compared": len(made),
                    "skipped": len(found) - len(made),
                    "failed": sum(not f.ok for f in found),
                }
            )
        return rows
