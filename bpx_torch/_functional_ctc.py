"""torch.nn.functional.ctc_loss over the rule of bpx, re-exported by bpx_torch.functional.

Stated differences from torch: the gradient is the derivative in log_probs, where torch adds
exp(log_probs), which a log_softmax before it takes away again: behind one they are equal. The mean
over no items is 0 (torch: an error). A length out of range on a GPU gives NaN.
"""

import torch

from bpx.spec import require
from bpx_torch._functional_losses import _reduction
from bpx_torch.losses import ctc as _ctc


def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """log_probs (T, N, C) or (T, C); targets (N, S), padded with anything, or one after another in
    one axis; lengths as tensors, lists or tuples."""
    reduction = _reduction("ctc_loss", None, None, reduction)
    dims = log_probs.ndim
    require(dims in (2, 3), f"ctc_loss: log_probs has {dims} axes, expected (T, N, C) or (T, C)")
    input_lengths, target_lengths = (
        _lengths(n, dims, targets.device) for n in (input_lengths, target_lengths)
    )
    if dims == 3 and targets.ndim == 1:
        targets = _padded(targets, target_lengths)
    elif targets.ndim == dims - 1:
        padding = torch.arange(targets.shape[-1], device=targets.device)
        padding = padding >= target_lengths.unsqueeze(-1)
        if padding.shape == targets.shape:  # what lies there is nobody's label
            targets = targets.masked_fill(padding, 0)
    return _ctc.ctc_loss(
        log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank=blank,
        reduction=reduction,
        zero_infinity=zero_infinity,
    )


def _lengths(lengths, dims, device):
    lengths = torch.as_tensor(lengths, device=device)
    if lengths.numel() == 0:
        lengths = lengths.long()
    if dims == 2 and lengths.shape == (1,):
        lengths = lengths.squeeze(0)
    return lengths


def _padded(targets, lengths):
    """Labels one after another as one row for each item."""
    longest = len(targets)  # where the lengths cannot be seen, as long as a row might be
    traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    if not traced:  # waits for a GPU, as torch's own does
        total = int(lengths.sum())
        require(
            total == len(targets),
            f"ctc_loss: targets has {len(targets)} labels, expected {total}, the sum of "
            "target_lengths",
        )
        longest = int(lengths.max()) if lengths.numel() else 0
    if longest == 0:
        return targets.new_zeros(*lengths.shape, 0)
    start = lengths.long().cumsum(0) - lengths
    place = torch.arange(longest, device=targets.device)
    labels = targets[(start.unsqueeze(-1) + place).clamp(0, len(targets) - 1)]
    return labels.masked_fill(place >= lengths.unsqueeze(-1), 0)
