"""Sizes that several entries are timed at: small, where calls cost; typical; large, where passes
over memory or products do; and odd, which no block divides.

A row gives the size of every dim of the arguments that take part (a tuple for a starred dim of
several axes), an optional argument takes part where its dims are there, and options by their names.
"""

from __future__ import annotations

from collections.abc import Mapping

Row = Mapping[str, int | bool | tuple[int, ...]]
Rows = Mapping[str, Row]

SIZES = ("small", "typical", "large", "odd")

# A candidate's time over that of the framework's own operation, at most: (torch eager, JAX's
# autodiff under jit). `python -m bpx bench --gate` holds the figures against them.
Limits = Mapping[str, tuple[float, float]]
LIMITS: Limits = {
    "small": (1.5, 0.5),
    "typical": (1.05, 1.05),
    "large": (1.05, 1.05),
    "odd": (1.5, 1.05),
}


def _rows(*sizes: Row) -> Rows:
    return dict(zip(SIZES, sizes, strict=True))


ELEMENTS = _rows({"N": 1000}, {"N": 262_144}, {"N": 4_194_304}, {"N": 1_000_003})
IMAGES_AS_ONE = _rows(
    {"N": (8, 4, 32)}, {"N": (32, 64, 64)}, {"N": (64, 256, 256)}, {"N": (7, 11, 1003)}
)
ROWS = _rows({"N": (64, 16)}, {"N": (1024, 1000)}, {"N": (128, 32_000)}, {"N": (333, 1003)})
FEATURES = _rows(
    {"N": 64, "D": 64}, {"N": 1024, "D": 768}, {"N": 4096, "D": 1024}, {"N": 1003, "D": 515}
)
LOGITS = _rows(
    {"N": 64, "V": 100}, {"N": 256, "V": 10_000}, {"N": 2048, "V": 32_000}, {"N": 101, "V": 1003}
)
PAIRS = _rows({"N": 64, "D": 64}, {"N": 1024, "D": 256}, {"N": 4096, "D": 512}, {"N": 101, "D": 67})

# How cost grows: (entry, the dim that grows, its values, the other sizes).
SCALING: tuple[tuple[str, str, tuple[int, ...], Row], ...] = (
    ("layer_norm", "N", (64, 256, 1024, 4096, 16_384), {"D": 768}),
    ("layer_norm", "D", (64, 256, 1024, 4096, 16_384), {"N": 1024}),
    ("swiglu", "N", (1024, 16_384, 262_144, 4_194_304), {}),
    ("cross_entropy", "V", (100, 1000, 10_000, 100_000), {"N": 256}),
    ("linear_cross_entropy", "V", (1000, 4000, 16_000, 64_000), {"N": 256, "D": 128}),
    (
        "attention",
        "T",
        (128, 256, 512, 1024, 2048),
        {"B": 1, "H": 8, "K": 8, "D": 64, "E": 64, "causal": True},
    ),
    ("lstm", "T", (16, 64, 256, 1024), {"B": 16, "I": 64, "H": 64, "G": 256}),
)
FOLLOWS: Mapping[tuple[str, str], tuple[str, ...]] = {("attention", "T"): ("S",)}
THREADS: tuple[str, Row] = ("layer_norm", {"N": 4096, "D": 1024})
