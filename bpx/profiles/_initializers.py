"""Initializers: spreads, truncation, and the axes that the fans are counted over.

The layouts are torch's (out, in, *field) and (*field, in, out) of flax and keras. bpx_torch.init
fills tensors of torch's layout under every profile.
Sources: torch.nn.init 2.13, jax.nn.initializers 0.10.2 (flax.nnx.initializers), keras 3.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bpx.profiles._profile import REQUIRED, Profile

OUT_IN = {"in_axis": 1, "out_axis": 0}
IN_OUT = {"in_axis": -2, "out_axis": -1}
CUT = {"distribution": "truncated_normal"}
UNCUT = {"distribution": "normal"}
SIGMA = {"a": -2.0, "b": 2.0, "bounds": "sigma"}


def _fans(torch: str, flax: str, keras: str, normal: bool = False) -> dict[str, Profile]:
    of_torch: dict[str, Any] = OUT_IN | (UNCUT if normal else {})
    others: dict[str, Any] = IN_OUT | (CUT if normal else {})
    note = "truncated at 2 sigma and scaled up, so that the variance is as said" if normal else ""
    found = {"torch": Profile(of_torch, torch)} if torch else {}
    return found | {"flax": Profile(others, flax, note), "keras": Profile(others, keras, note)}


TABLE: dict[str, Mapping[str, Profile]] = {
    "uniform": {
        "torch": Profile({"a": 0.0, "b": 1.0}, "uniform_"),
        "flax": Profile({"a": 0.0, "b": 1e-2}, "uniform"),
        "keras": Profile({"a": -0.05, "b": 0.05}, "RandomUniform"),
    },
    "normal": {
        "torch": Profile({"std": 1.0}, "normal_"),
        "flax": Profile({"std": 1e-2}, "normal"),
        "keras": Profile({"std": 0.05}, "RandomNormal"),
    },
    "truncated_normal": {
        "torch": Profile(
            {"std": 1.0, "a": -2.0, "b": 2.0, "bounds": "absolute"},
            "trunc_normal_",
            "the bounds are values, whatever std is",
        ),
        "flax": Profile(
            {"std": 1e-2} | SIGMA, "truncated_normal", "the bounds count standard deviations"
        ),
        "keras": Profile({"std": 0.05} | SIGMA, "TruncatedNormal", "as flax"),
    },
    "variance_scaling": {
        "flax": Profile(
            {"scale": REQUIRED, "mode": REQUIRED, "distribution": REQUIRED} | IN_OUT,
            "variance_scaling",
        ),
        "keras": Profile({"scale": 1.0, "mode": "fan_in"} | CUT | IN_OUT, "VarianceScaling"),
    },
    "xavier_uniform": _fans("xavier_uniform_", "xavier_uniform", "GlorotUniform"),
    "xavier_normal": _fans("xavier_normal_", "xavier_normal", "GlorotNormal", normal=True),
    "kaiming_uniform": _fans("kaiming_uniform_", "he_uniform", "HeUniform"),
    "kaiming_normal": _fans("kaiming_normal_", "he_normal", "HeNormal", normal=True),
    "lecun_uniform": _fans("", "lecun_uniform", "LecunUniform"),
    "lecun_normal": _fans("", "lecun_normal", "LecunNormal", normal=True),
    "orthogonal": {
        "torch": Profile({"gain": 1.0, "axis": 0}, "orthogonal_"),
        "flax": Profile({"gain": 1.0, "axis": -1}, "orthogonal"),
        "keras": Profile({"gain": 1.0, "axis": -1}, "Orthogonal"),
    },
}
