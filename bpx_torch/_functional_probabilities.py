"""Losses of probabilities, as keras has them, over the rules of bpx.

Probabilities are clipped, with slope 0 outside of the clip, and their logarithms go to the rules.
"""

from bpx.spec import SpecError
from bpx_torch.losses import nll_loss as _nll_loss

EPSILON = 1e-7  # keras.config.epsilon()


def clipped(x, clip, upper=None):
    """x within [clip, upper], 1 - clip unless given; x itself for no clip."""
    return x.clamp(clip, 1 - clip if upper is None else upper) if clip else x


def cross_entropy(x, target, weight, ignore_index, reduction, label_smoothing):
    """The cross-entropy of probabilities x (*N V), which are divided by their sum first."""
    logs = clipped(x / x.sum(-1, keepdim=True), EPSILON).log()
    if not target.is_floating_point():
        if label_smoothing:
            raise SpecError(
                f"cross_entropy: label_smoothing is {label_smoothing} where from_logits is False "
                "and target holds labels, expected 0"
            )
        return _nll_loss.nll_loss(
            logs, target, weight, ignore_index=ignore_index, reduction=reduction
        )
    if weight is not None:
        raise SpecError(
            "cross_entropy: weight is given where from_logits is False and target holds "
            "probabilities, expected None"
        )
    target = target * (1 - label_smoothing) + label_smoothing / target.shape[-1]
    return over(-(target * logs).sum(-1), reduction)


def over(rows, reduction):
    """The reduction of a loss for each row; the mean over no rows is 0."""
    if reduction == "none":
        return rows
    return rows.sum() / max(rows.numel(), 1) if reduction == "mean" else rows.sum()
