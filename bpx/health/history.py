"""The samples of a run, and the report on them."""

from __future__ import annotations

from collections.abc import Callable

from bpx.health.record import Sample
from bpx.health.report import Report
from bpx.health.thresholds import ENTRY, Thresholds
from bpx.spec import SpecError, require


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
        self._steps: list[int] = []
        self._samples: list[Sample | Callable[[], Sample]] = []

    @property
    def samples(self) -> tuple[Sample, ...]:
        made = [s if isinstance(s, Sample) else s() for s in self._samples]
        self._samples = [*made]
        return tuple(made)

    def append(self, sample: Sample) -> None:
        self.postpone(sample.step, sample)

    def postpone(self, step: int, sample: Sample | Callable[[], Sample]) -> None:
        """Append the sample of a step, or what makes it, called when `samples` is asked for."""
        last = self._steps[-1] if self._steps else -1
        if step <= last:  # the message is made for what is refused alone
            raise SpecError(
                f"{ENTRY}: step is {step}, expected more than {last}, the step before it"
            )
        self._steps.append(step)
        self._samples.append(sample)
        if len(self._samples) > self.keep:
            del self._samples[1], self._steps[1]

    def report(self, thresholds: Thresholds | None = None) -> Report:
        """The diagnosis of what has been seen. Raises SpecError before the first sample."""
        return Report(self.samples, thresholds or Thresholds())
