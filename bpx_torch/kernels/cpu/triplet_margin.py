"""triplet_margin for torch on the CPU: the native core by pointer.

Maths, shapes and source: bpx/losses/triplet_margin.py.
"""

from bpx.native.losses import REDUCTIONS
from bpx_torch.kernels.cpu import _call, _losses
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _losses.refuses(arrays, *arrays[1:])


def forward(anchor, positive, negative, *, margin, swap, eps, reduction):
    dtype, wide, shape = anchor.dtype, arithmetic(anchor.dtype), anchor.shape
    given = [readable(a, dtype) for a in (anchor, positive, negative)]
    y = anchor.new_empty(shape[:-1] if reduction == "none" else ())
    kept = [anchor.new_empty(s, dtype=wide) for s in (shape, shape, (int(swap), *shape))]
    sizes = (shape[:-1].numel(), shape[-1], REDUCTIONS[reduction])
    _call.run("triplet_margin_forward", dtype, (*given, y, *kept), sizes, (margin, eps))
    return y, tuple(kept)


def backward(dy, arrays, residuals, needs, *, margin, swap, eps, reduction):
    dtype, wide, shape = dy.dtype, arithmetic(dy.dtype), residuals[0].shape
    given = [readable(dy, dtype), *(readable(r, wide) for r in residuals)]
    made = [dy.new_empty(shape) if need else None for need in needs]
    sizes = (shape[:-1].numel(), shape[-1], REDUCTIONS[reduction])
    _call.run("triplet_margin_backward", dtype, (*given, *made), sizes, (margin, eps))
    return tuple(made)
