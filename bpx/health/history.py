"""The samples of a run, and the report on them."""

from __future__ import annotations

from bpx.health.record import Sample
from bpx.health.report import Report
from bpx.health.thresholds import ENTRY, Thresholds
from bpx.spec import require


class History:
    """The first sample of a run and the latest `keep` - 1 of the others, in order of their steps.

    Raises SpecError where keep is under 2, or where a sample's step does not come after the last's.
    """

    def __init__(self, keep: int = 1000) -> None:
        require(
            isinstance(keep, int) and keep >= 2,
            f"{ENTRY}: keep is {keep!r}, expected a whole number, at least 2",
        )
        self.keep = keep
        self._samples: list[Sample] = []

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(self._samples)

    def append(self, sample: Sample) -> None:
        last = self._samples[-1].step if self._samples else -1
        require(
            sample.step > last,
            f"{ENTRY}: step is {sample.step}, expected more than {last}, the step before it",
        )
        self._samples.append(sample)
        if len(self._samples) > self.keep:
            del self._samples[1]

    def report(self, thresholds: Thresholds | None = None) -> Report:
        """The diagnosis of what has been seen. Raises SpecError before the first sample."""
        return Report(self.samples, thresholds or Thresholds())
