"""info_nce for torch on the CPU: gradients in forward. Maths, shapes and source:
bpx/losses/info_nce.py.

Backward would compute the similarities again, a fourth product beside three. Where gradients will
be asked for of one number, and are no larger than the similarities, forward takes them at dy = 1
while it has those, as linear_cross_entropy does on a GPU; backward scales them, out of place, so
that it can be called twice.
"""

import torch

from bpx_torch.kernels import _opaque

DTYPES = (torch.float32, torch.float64)


def refuses(arrays, dims):
    if (reason := _opaque.refuses(arrays)) is not None:
        return reason
    query, key = arrays
    if not (query.is_cpu and key.is_cpu):
        return f"an argument is on {key.device if query.is_cpu else query.device}"
    if query.dtype not in DTYPES or key.dtype != query.dtype:
        names = (str(a.dtype).removeprefix("torch.") for a in arrays)
        return f"it takes float32 or float64, not {' beside '.join(names)}"
    return None if query.numel() else "an argument has no elements"


def forward(query, key, *, temperature, reduction, needs=()):
    s = (query / temperature) @ key.mT
    s -= s.diagonal().clone().unsqueeze(-1)  # no large lse to cancel where the pair is found
    loss = torch.logsumexp(s, -1)
    if reduction == "none":
        return loss, ()
    divisor = len(query) if reduction == "mean" else 1
    made = ()
    if worth(query, needs):
        made = at_once(s, loss, query, key, needs, 1 / (divisor * temperature))
    return loss.sum() / divisor, made


def worth(query, needs):
    """Whether forward takes the gradients: they are kept in place of the similarities."""
    return any(needs) and sum(needs) * query.shape[1] <= query.shape[0]


def at_once(s, loss, query, key, needs, scale):
    """The gradients at dy = 1, None where not asked for; s is written over."""
    # w = softmax(s) - 1 on the diagonal, there minus the sum of the others
    w = s.sub_(loss.unsqueeze(-1)).exp_().fill_diagonal_(0)
    w.diagonal().sub_(w.sum(-1))
    # dquery = scale w key,  dkey = w^T scale query
    dquery = torch.mm(w, key).mul_(scale) if needs[0] else None
    return dquery, torch.mm(w.mT, query).mul_(scale) if needs[1] else None


def backward(dy, arrays, residuals, needs, *, temperature, reduction):
    if not residuals:
        return again(dy, *arrays, needs, temperature, reduction)
    return tuple(
        None if made is None or not need else dy * made
        for made, need in zip(residuals, needs, strict=True)
    )


def again(dy, query, key, needs, temperature, reduction):
    """From the arguments: of a loss for each row, and of few rows of many features."""
    s = (query / temperature) @ key.mT
    w = torch.softmax(s, -1).fill_diagonal_(0)
    w.diagonal().sub_(w.sum(-1))
    g = dy / (temperature * (len(query) if reduction == "mean" else 1))
    w *= g if reduction != "none" else g.unsqueeze(-1)
    return w @ key if needs[0] else None, w.mT @ query if needs[1] else None
