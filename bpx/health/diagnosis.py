"""From samples to findings, the cause before its consequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bpx.health import checks, nonfinite
from bpx.health.record import Sample
from bpx.health.remedies import MEANING, remedy
from bpx.health.thresholds import Thresholds

# in one sample the cause comes first: dead and saturated units, or zeros of a symmetric start, make
# gradients vanish; growth ends in an overflow
ORDER = (
    "symmetric",
    "dead",
    "saturated",
    "exploding",
    "non-finite",
    "vanishing",
    "learning rate too high",
    "learning rate too low",
)
# A fault of these is one only while it lasts: a head that starts at zero gives no gradient to the
# layers below it in its first step, and a rate that warms up starts at nothing.
LASTING = ("symmetric", "dead", "saturated", "vanishing")


@dataclass(frozen=True)
class Finding:
    """A fault, the layer and the step that show it first, what shows it, and what to try."""

    fault: str
    layer: str
    step: int
    evidence: str
    remedy: str

    @property
    def words(self) -> str:
        """Plain words: what, where, why, and what to do."""
        return (
            f"{self.fault} ({MEANING[self.fault]}). Step {self.step}: {self.evidence}. "
            f"Try first: {self.remedy}."
        )


def diagnose(samples: Sequence[Sample], thresholds: Thresholds) -> tuple[Finding, ...]:
    """The findings, the cause first; empty where the run is healthy.

    Steps come before anything else, since an early fault makes later ones: a learning rate too high
    kills units some steps after. After the first value that is not finite nothing is looked at.
    """
    found: dict[str, Finding] = {}
    broken = None
    finite: list[Sample] = []
    for sample in samples:
        broken = nonfinite.first(sample)
        if broken is not None:
            break
        finite.append(sample)
    last = finite[-1:]
    for sample in finite:
        for fault in ORDER:
            if fault in found or fault in ("non-finite", "learning rate too low"):
                continue
            check = checks.CHECKS[fault]
            if (seen := check(sample, thresholds)) is None:
                continue
            if fault in LASTING and check(last[0], thresholds) is None:
                continue
            found[fault] = _finding(fault, sample, *seen)
    if broken is not None:
        sample = samples[len(finite)]
        # the layers before it may have grown on the way
        seen = checks.exploding(_before(sample, broken), thresholds)
        if seen is not None and "exploding" not in found:
            found["exploding"] = _finding("exploding", sample, *seen)
        text = nonfinite.words(broken, finite[-1].step if finite else None)
        fix = remedy("non-finite", phase=broken.phase)
        found["non-finite"] = Finding("non-finite", broken.layer, broken.step, text, fix)
    elif not found and (low := _too_low(finite, thresholds)):
        found[low.fault] = low
    return tuple(sorted(found.values(), key=lambda f: (f.step, ORDER.index(f.fault))))


def _finding(fault: str, sample: Sample, layer: str, evidence: str) -> Finding:
    kind = next((x.kind for x in sample.layers if x.name == layer), "")
    return Finding(fault, layer, sample.step, evidence, remedy(fault, kind))


def _too_low(samples: Sequence[Sample], thresholds: Thresholds) -> Finding | None:
    """Too low in every sample that saw an update."""
    known = [s for s in samples if checks.ratio(s) is not None]
    seen = [checks.too_low(s, thresholds) for s in known]
    if not seen or seen[0] is None or None in seen:
        return None
    return _finding("learning rate too low", known[0], *seen[0])


def _before(sample: Sample, broken: nonfinite.NonFinite) -> Sample:
    """What of a sample came before the value that is not finite; nothing where the parameters
    were not finite already."""
    names = [layer.name for layer in sample.layers]
    match broken.phase:
        case "forward":
            return Sample(sample.step, sample.layers[: names.index(broken.layer)])
        case "backward":
            return Sample(sample.step, sample.layers[names.index(broken.after) + 1 :])
        case "parameter":
            return Sample(sample.step)
    return Sample(sample.step, sample.layers)
