"""Recurrent layers: where each library keeps the gates. The entries have torch's rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bpx.profiles._profile import Profile

ZEROS: tuple[str, Mapping[str, Any]] = ("zeros", {})


def _first(input_weight: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    recurrent: tuple[str, Mapping[str, Any]] = ("orthogonal", {})
    weights = {"weight_ih": (input_weight, {}), "weight_hh": recurrent}
    return {**weights, "bias_ih": ZEROS, "bias_hh": ZEROS}


ORDER = {"lstm": "ifgo", "gru": "rzn"}  # of the entries, torch's
WITHIN = "all uniform within 1 / sqrt(H)"
# `gates`: their order there; `columns`: the weights are (features, gates * H), torch's transposed
TABLE: dict[str, Mapping[str, Profile]] = {
    "lstm": {
        "torch": Profile({"gates": "ifgo", "columns": False}, "LSTM", f"two biases (4H); {WITHIN}"),
        "flax": Profile(
            {"gates": "ifgo", "columns": True},
            "OptimizedLSTMCell",
            "dense_i and dense_h; one bias, of dense_h; the carry is (c, h)",
            initial=_first("lecun_normal"),
        ),
        "keras": Profile(
            {"gates": "ifgo", "columns": True},
            "LSTM",
            "one bias; at first 1 for the forget gate, 0 for the others",
            initial=_first("xavier_uniform"),
            gate_bias={"f": 1.0},
        ),
    },
    "gru": {
        "torch": Profile({"gates": "rzn", "columns": False}, "GRU", f"two biases (3H); {WITHIN}"),
        "flax": Profile(
            {"gates": "rzn", "columns": True},
            "GRUCell",
            "dense_i and dense_h; one bias, of dense_i",
            initial=_first("lecun_normal"),
        ),
        "keras": Profile(
            {"gates": "zrn", "columns": True},
            "GRU",
            "biases (2, 3H), the recurrent one second",
            initial=_first("xavier_uniform"),
        ),
    },
}


def in_rows(entry: str, profile: Profile, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
    """The parameters as the entry takes them, of the library's own: arrays of NumPy, JAX or torch,
    which are moved and not computed with. keras's bias of two rows is given as b_ih."""
    if b_ih is not None and b_ih.ndim == 2:
        b_ih, b_hh = b_ih[0], b_ih[1]
    if profile.options["columns"]:
        w_ih, w_hh = w_ih.T, w_hh.T
    theirs, ours = profile.options["gates"], ORDER[entry]
    if theirs == ours:
        return w_ih, w_hh, b_ih, b_hh
    size = w_hh.shape[1]
    rows = [theirs.index(g) * size + i for g in ours for i in range(size)]
    index = np.asarray(rows)
    return tuple(None if a is None else a[index] for a in (w_ih, w_hh, b_ih, b_hh))


def gate_rows(entry: str, profile: Profile, size: int) -> list[tuple[slice, float]]:
    """(rows of the input bias in torch's order, their first value) where a gate has its own."""
    at = {g: ORDER[entry].index(g) * size for g in profile.gate_bias}
    return [(slice(at[g], at[g] + size), v) for g, v in profile.gate_bias.items()]
