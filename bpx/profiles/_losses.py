"""Losses: reductions, what the input is, clips.

Under a profile the first two arguments keep their order; keras has (y_true, y_pred).
Sources: torch.nn.functional 2.13, optax.losses 0.2.8, keras.losses 3.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bpx.profiles._profile import Profile

MEAN = {"reduction": "mean"}
NONE = {"reduction": "none"}


def _reduced(torch: str, optax: str = "", keras: str = "", note: str = "") -> dict[str, Profile]:
    """The losses of one formula, which differ in what they reduce; the note is on the last."""
    named: dict[str, tuple[str, dict[str, Any]]] = {"torch": (torch, MEAN)}
    named |= {"optax": (optax, NONE)} if optax else {}
    named |= {"keras": (keras, MEAN)} if keras else {}
    return {
        k: Profile(options, name, note if k == [*named][-1] else "")
        for k, (name, options) in named.items()
    }


TABLE: dict[str, Mapping[str, Profile]] = {
    "mse": _reduced(
        "mse_loss", "squared_error", "MeanSquaredError", "optax.l2_loss is half of squared_error"
    ),
    "l1": _reduced("l1_loss", "", "MeanAbsoluteError"),
    "huber": _reduced("huber_loss", "huber_loss", "Huber"),
    "binary_cross_entropy": {
        "torch": Profile(MEAN | {"clip": 0.0}, "binary_cross_entropy", "logs clamped at -100"),
        "keras": Profile(
            MEAN | {"clip": 1e-7},
            "BinaryCrossentropy",
            "probabilities clipped to [clip, 1 - clip], with slope 0 outside",
        ),
    },
    "binary_cross_entropy_with_logits": _reduced(
        "binary_cross_entropy_with_logits",
        "sigmoid_binary_cross_entropy",
        "BinaryCrossentropy",
        "with from_logits=True",
    ),
    "cross_entropy": {
        "torch": Profile(
            MEAN | {"ignore_index": -100, "from_logits": True},
            "cross_entropy",
            "mean over the labels that count, by their class weights; NaN without any (here 0)",
        ),
        "optax": Profile(
            NONE | {"ignore_index": None, "from_logits": True},
            "softmax_cross_entropy_with_integer_labels",
            "a label out of range is NaN, label -1 the last class (here both raise)",
        ),
        "keras": Profile(
            MEAN | {"ignore_index": None, "from_logits": False},
            "SparseCategoricalCrossentropy",
            "probabilities, divided by their sum and clipped to [1e-7, 1 - 1e-7]; ignore_class "
            "leaves labels out of the mean, which is 0 without any",
        ),
    },
    "kl_div": {
        "torch": Profile(
            MEAN | {"clip": None, "over_classes": False},
            "kl_div",
            "of log-probabilities; the mean divides by the number of elements, batchmean by rows",
        ),
        "optax": Profile(
            NONE | {"clip": None, "over_classes": True},
            "kl_divergence",
            "of log-probabilities; the sum over the last axis",
        ),
        "keras": Profile(
            MEAN | {"clip": 1e-7, "over_classes": True},
            "KLDivergence",
            "of probabilities, both clipped to [clip, 1]; the mean of sums over the last axis",
        ),
    },
    "poisson_nll": {
        "torch": Profile(MEAN | {"log_input": True, "eps": 1e-8}, "poisson_nll_loss"),
        "keras": Profile(MEAN | {"log_input": False, "eps": 1e-7}, "Poisson", "log(input + eps)"),
    },
}
