"""The MLP whose steps are timed with and without bpx.health."""

from __future__ import annotations

from collections.abc import Mapping

CLASSES = 10
LEARNING_RATE = 1e-6  # nothing is learnt, so that steps stay alike
SIZES: Mapping[str, Mapping[str, int]] = {
    label: {"hidden": 4, "width": width, "batch": 64}
    for label, width in (("small", 64), ("typical", 256), ("large", 512))
}


def layers(dims: Mapping[str, int]) -> list[tuple[int, int]]:
    """(inputs, outputs) of every linear layer; a ReLU follows all but the last."""
    width = dims["width"]
    return [(width, width)] * dims["hidden"] + [(width, CLASSES)]
