"""The losses of terms and of a difference for torch on the CPU: the native core by pointer.

One pass over the arguments in forward, one in backward. An option that decides what is
computed chooses a kernel of its own by a suffix.
Maths, shapes and sources: bpx/losses.
"""

from functools import partial
from types import SimpleNamespace

import torch

from bpx.native.losses import DIFFERENCES, TERMS, divisor, options_of
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable
from bpx_torch.kernels.cpu._losses import refuses

ABSENT = (None,) * 4


def refuses_others(arrays, dims):
    x = arrays[0]
    if x.dtype == torch.bfloat16 and any(a is not None and a.shape != x.shape for a in arrays):
        return "the gradient of a broadcast weight would be summed in bfloat16"
    return refuses(arrays, *arrays[1:])


def given(arrays, like):
    """The arguments as the kernels read them; a weight that is broadcast is written out."""
    read = [
        None
        if a is None
        else readable(a if a.shape == like.shape else a.expand_as(like), like.dtype)
        for a in arrays
    ]
    return (*read, *ABSENT[len(read) :])


def forward(name, chosen, *arrays, reduction, **options):
    x, (suffix, numbers) = arrays[0], chosen(**options)
    read = given(arrays, x)
    y = torch.empty(x.shape if reduction == "none" else (), dtype=x.dtype)
    sizes = (x.numel(), divisor(x.shape, reduction))
    _call.run(f"{name}{suffix}_forward", x.dtype, (*read, y), sizes, numbers)
    return y, ()


def backward(name, chosen, dy, arrays, residuals, needs, *, reduction, **options):
    x, (suffix, numbers) = arrays[0], chosen(**options)
    read, dy = given(arrays, x), readable(dy, x.dtype)
    made = [torch.empty(x.shape, dtype=x.dtype) if need else None for need in needs]
    sizes = (x.numel(), divisor(x.shape, reduction))
    out = (*made, *ABSENT[len(made) :])
    _call.run(f"{name}{suffix}_backward", x.dtype, (dy, *read, *out), sizes, numbers)
    return tuple(
        d if d is None or a.shape == x.shape else d.sum_to_size(a.shape)
        for d, a in zip(made, arrays, strict=True)
    )


def difference_forward(name, kept, x, target, *, reduction, **options):
    dtype = x.dtype
    x, target = readable(x, dtype), readable(target, dtype)
    y = torch.empty(x.shape if reduction == "none" else (), dtype=dtype)
    keep = torch.empty(x.shape, dtype=kept or arithmetic(dtype))
    sizes, numbers = (x.numel(), divisor(x.shape, reduction)), options_of(name, options)
    _call.run(f"{name}_forward", dtype, (x, target, y, keep), sizes, numbers)
    return y, (keep,)


def difference_backward(name, kept, dy, arrays, residuals, needs, *, reduction, **options):
    dtype = dy.dtype
    keep, dy = readable(residuals[0], kept or arithmetic(dtype)), readable(dy, dtype)
    dx, dtarget = (torch.empty(keep.shape, dtype=dtype) if need else None for need in needs)
    sizes, numbers = (keep.numel(), divisor(keep.shape, reduction)), options_of(name, options)
    _call.run(f"{name}_backward", dtype, (dy, keep, dx, dtarget), sizes, numbers)
    return dx, dtarget


def term_kernel(name, chosen):
    return SimpleNamespace(
        forward=partial(forward, name, chosen),
        backward=partial(backward, name, chosen),
        refuses=refuses_others,
    )


def difference_kernel(name, kept):
    return SimpleNamespace(
        forward=partial(difference_forward, name, kept),
        backward=partial(difference_backward, name, kept),
        refuses=refuses_others,
    )


KERNELS = {
    **{name: term_kernel(name, chosen) for name, chosen in TERMS.items()},
    **{name: difference_kernel(name, torch.int8 if name == "l1" else None) for name in DIFFERENCES},
}
