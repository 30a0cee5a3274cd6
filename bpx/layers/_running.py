"""How running statistics of batch normalisation move, by library: what momentum weighs, which
variance is kept, and the defaults.

Sources: torch.nn.BatchNorm1d, flax.nnx.BatchNorm, keras.layers.BatchNormalization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bpx.spec import one_of


@dataclass(frozen=True)
class Profile:
    """`of_batch`: momentum is the share of the batch in the new value, else that of the old value.
    `unbiased`: the variance kept is divided by n - 1, else by n. The batch itself is always
    normalized by the biased one."""

    momentum: float
    of_batch: bool
    unbiased: bool
    eps: float


PROFILES = {
    "torch": Profile(0.1, True, True, 1e-5),
    "flax": Profile(0.99, False, False, 1e-5),
    "keras": Profile(0.99, False, False, 1e-3),
}


def settings(profile: str, momentum: Any, unbiased: Any, eps: Any) -> tuple[Any, bool, Any]:
    """(share of the old value that is kept, unbiased, eps); None takes the profile's."""
    one_of("batch_norm", "profile", profile, tuple(PROFILES))
    chosen = PROFILES[profile]
    momentum = chosen.momentum if momentum is None else momentum
    kept = 1 - momentum if chosen.of_batch else momentum
    unbiased = chosen.unbiased if unbiased is None else unbiased
    return kept, unbiased, chosen.eps if eps is None else eps
