"""Gradient health: what layers, gradients and updates look like, and what is wrong with them.

`bpx_torch.health` and `bpx_jax.health` collect a `Sample` of a training step; a `History` of
samples gives a `Report`: the diagnosis in plain words, the remedy to try first, a table, a picture,
JSON and a page. Nothing here needs a framework.
"""

from bpx.health.diagnosis import Finding, diagnose
from bpx.health.history import History
from bpx.health.kinds import KINDS
from bpx.health.record import Layer, Moments, Parameter, Sample, merge
from bpx.health.report import Report
from bpx.health.thresholds import Thresholds

__all__ = [
    "KINDS",
    "Finding",
    "History",
    "Layer",
    "Moments",
    "Parameter",
    "Report",
    "Sample",
    "Thresholds",
    "diagnose",
    "merge",
]
