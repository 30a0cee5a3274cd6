"""A report: the diagnosis of a run, in words, as a table, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bpx.health import diagnosis, nonfinite, page, picture, table
from bpx.health.diagnosis import Finding
from bpx.health.nonfinite import NonFinite
from bpx.health.record import Layer, Moments, Parameter, Sample
from bpx.health.remedies import MEANING
from bpx.health.thresholds import ENTRY, Thresholds
from bpx.spec import require

FORMAT = 1


class Report:
    """The diagnosis of samples. Raises SpecError where there are none.

    diagnosis  one word or two: "healthy", or the fault of the first finding
    findings   every fault found, the cause first
    nonfinite  the first value that is not finite, or None
    """

    def __init__(self, samples: Sequence[Sample], thresholds: Thresholds | None = None) -> None:
        require(
            len(samples) > 0,
            f"{ENTRY}: samples is empty, expected at least one (a sampled step that has ended)",
        )
        self.samples = tuple(samples)
        self.thresholds = thresholds or Thresholds()
        self.findings: tuple[Finding, ...] = diagnosis.diagnose(self.samples, self.thresholds)
        found = (nonfinite.first(s) for s in self.samples)
        self.nonfinite: NonFinite | None = next((f for f in found if f is not None), None)

    @property
    def diagnosis(self) -> str:
        return self.findings[0].fault if self.findings else "healthy"

    @property
    def words(self) -> str:
        """The diagnosis in plain words, one finding a line."""
        if not self.findings:
            return f"healthy: {MEANING['healthy']}, in {len(self.samples)} samples."
        return "\n".join(f.words for f in self.findings)

    def table(self, index: int = -1) -> str:
        """The layers of one sample, as text; -1 is the latest. Raises SpecError past the ends."""
        return table.text(self._sample(index))

    def picture(self, index: int = -1) -> Any:
        """A matplotlib Figure of one sample: activations, gradients, dead and saturated shares and
        updates by layer. Needs the extra "demo". Raises SpecError as `table`."""
        return picture.figure(self._sample(index), self.thresholds)

    def html(self) -> str:
        """A page that needs no other file: words, table, and the picture where matplotlib is."""
        return page.html(self)

    def save(self, path: str | Path) -> None:
        """Write .json, .html, .txt, or a picture: .svg, .png, .pdf. Raises SpecError for another
        ending."""
        path = Path(path)
        writers = {".json": self.json, ".html": self.html, ".txt": self.__str__}
        if path.suffix in (".svg", ".png", ".pdf"):
            self.picture().savefig(path)
            return
        require(
            path.suffix in writers,
            f"{ENTRY}: path is {path.name!r}, expected one that ends in .json, .html, .txt, .svg, "
            ".png or .pdf",
        )
        path.write_text(writers[path.suffix](), encoding="utf-8")

    def json(self) -> str:
        """Samples, thresholds and findings; `from_json` reads it. What is not finite is text."""
        about = {
            "format": FORMAT,
            "diagnosis": self.diagnosis,
            "findings": [asdict(f) for f in self.findings],
            "thresholds": asdict(self.thresholds),
            "samples": [asdict(s) for s in self.samples],
        }
        return json.dumps(_plain(about), allow_nan=False, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Report:
        """The report that `json` wrote, diagnosed again. Raises SpecError for any other text."""
        try:
            read = json.loads(text)
            require(
                isinstance(read, dict) and read.get("format") == FORMAT,
                f"{ENTRY}: text is not a report, expected JSON of format {FORMAT}",
            )
            samples = [_sample(s) for s in read["samples"]]
            limits = Thresholds(**read["thresholds"])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            require(False, f"{ENTRY}: text is not a report ({error}), expected what json() gives")
        return Report(samples, limits)

    def _sample(self, index: int) -> Sample:
        n = len(self.samples)
        require(
            isinstance(index, int) and -n <= index < n,
            f"{ENTRY}: index is {index!r}, expected {-n} to {n - 1}",
        )
        return self.samples[index]

    def __str__(self) -> str:
        return f"{self.table()}\n\n{self.words}"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _moments(read: dict[str, Any] | None) -> Moments | None:
    if read is None:
        return None
    return Moments(**(read | {k: float(read[k]) for k in ("mean", "variance")}))


def _numbers(read: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {k: None if read[k] is None else float(read[k]) for k in names}


def _sample(read: dict[str, Any]) -> Sample:
    layers, parameters = [], []
    for a in read["layers"]:
        of = {k: _moments(a[k]) for k in ("activation", "gradient")}
        layers.append(Layer(**(a | of | _numbers(a, ("dead", "saturated")))))
    for a in read["parameters"]:
        of = {k: _moments(a[k]) for k in ("weight", "gradient")}
        shape = {"shape": tuple(a["shape"])}
        parameters.append(Parameter(**(a | of | shape | _numbers(a, ("update", "twins")))))
    return Sample(read["step"], tuple(layers), tuple(parameters))
