"""info_nce for torch on the CPU: the products by torch, the rows of the similarities by the native
core, their gradient written over them. Maths, shapes and source: bpx/losses/info_nce.py.

Backward would compute the similarities again, a fourth product beside three. Where gradients will
be asked for of one number, and are no larger than the similarities, forward takes them at dy = 1
while it has those, as linear_cross_entropy does on a GPU; backward scales them, out of place, so
that it can be called twice.
"""

import torch

from bpx.native.losses import REDUCTIONS
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable

DTYPES = (torch.float32, torch.float64)


def refuses(arrays, dims):
    query, key = arrays
    if query.dtype not in DTYPES or key.dtype != query.dtype:
        names = (str(a.dtype).removeprefix("torch.") for a in arrays)
        return f"it takes float32 or float64, not {' beside '.join(names)}"
    return _call.refuses(arrays)


def forward(query, key, *, temperature, reduction, needs=()):
    s, n = (query / temperature) @ key.mT, len(query)
    y = s.new_empty((n,) if reduction == "none" else ())
    _call.run("info_nce_forward", s.dtype, (s, y), (n, REDUCTIONS[reduction]))
    if reduction == "none" or not worth(query, needs):
        return y, ()
    return y, gradients(None, s, query, key, needs, scale(query, temperature, reduction))


def worth(query, needs):
    """Whether forward takes the gradients: they are kept in place of the similarities."""
    return any(needs) and sum(needs) * query.shape[1] <= query.shape[0]


def scale(query, temperature, reduction):
    return 1 / (temperature * (len(query) if reduction == "mean" else 1))


def gradients(rows, s, query, key, needs, factor):
    """Those that are asked for; s is written over. `rows` are the cotangents of a loss for each."""
    # With w the gradient of the sum of the losses by the similarities, or of rows times them:
    #   dquery = factor w key,  dkey = factor w^T query
    # The factor comes last: before the products it would make more of w subnormal, which is slow.
    each = "sum" if rows is None else "none"
    rows = s.new_ones(()) if rows is None else rows
    _call.run("info_nce_backward", s.dtype, (rows, s, s), (len(query), REDUCTIONS[each]), (1.0,))
    dquery = torch.mm(s, key).mul_(factor) if needs[0] else None
    return dquery, torch.mm(s.mT, query).mul_(factor) if needs[1] else None


def backward(dy, arrays, residuals, needs, *, temperature, reduction):
    if residuals:
        return tuple(
            None if made is None or not need else dy * made
            for made, need in zip(residuals, needs, strict=True)
        )
    query, key = arrays
    s, factor = (query / temperature) @ key.mT, scale(query, temperature, reduction)
    if reduction == "none":
        return gradients(readable(dy, query.dtype), s, query, key, needs, factor)
    return gradients(None, s, query, key, needs, factor * dy)
