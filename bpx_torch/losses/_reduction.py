"""None, sum or mean over the elements (or rows) of a loss, shared by the torch rules."""


def reduce(loss, reduction):
    """The mean over nothing is 0."""
    if reduction == "none":
        return loss
    total = loss.sum()
    return total / max(loss.numel(), 1) if reduction == "mean" else total


def each(dy, count, reduction):
    """The cotangent of every one of `count` terms: dy, over the count in a mean."""
    return dy / max(count, 1) if reduction == "mean" else dy
