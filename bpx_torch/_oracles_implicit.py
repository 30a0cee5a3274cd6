"""torch's own CTC loss and the usual formulations of a fixed point and of a reversible block, for
bpx_torch/oracles.py."""

from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


# torch takes one batch axis and refuses an empty one
def _ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    *,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    if not log_probs.numel():
        return log_probs.sum() * torch.nan
    if log_probs.dim() == 2:
        targets, input_lengths, target_lengths = (
            a[None] for a in (targets, input_lengths, target_lengths)
        )
        log_probs = log_probs[:, None]
    y = F.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity
    )
    return y.reshape(()) if y.numel() == 1 else y


_EMPTY = "value: torch refuses empty log_probs, here the loss is 0"
_NORMALISED = "torch adds exp(log_probs), right behind a log_softmax alone"


# differentiated through every iteration
def _deep_equilibrium(x, w_zz, w_xz, bias=None, *, max_iter=50):
    b_x = F.linear(x, w_xz, bias)
    z = torch.zeros_like(b_x)
    for _ in range(max_iter):
        z = torch.tanh(F.linear(z, w_zz) + b_x)
    return z


def _reversible(x, w_f, w_g):
    x1, x2 = x.chunk(2, -1)
    y1 = x1 + torch.tanh(F.linear(x2, w_f))
    return torch.cat([y1, x2 + torch.tanh(F.linear(y1, w_g))], -1)


ORACLES = {
    "ctc_loss": _ctc_loss,
    "deep_equilibrium": _deep_equilibrium,
    "reversible": _reversible,
}

# The same where forward keeps its arguments alone and backward computes it again.
RECOMPUTED = {"reversible": partial(checkpoint, _reversible, use_reentrant=False)}

DIFFERS: dict[str, dict[str, str]] = {
    "ctc_loss": {
        "mean": _NORMALISED,
        "blank last, no labels": _NORMALISED,
        "one sequence, one frame": _NORMALISED,
        "a class of probability 0": _NORMALISED,
        "impossible, zeroed": _NORMALISED,
        "no sequences": _EMPTY,
    },
    "deep_equilibrium": {"no equilibrium reached": "value: iterations alone do not tell"},
}
