"""The losses of terms and of a difference for torch on the CPU: the native core by pointer.

One pass over the arguments in forward, one in backward. An option that decides what is
computed chooses a kernel of its own by a suffix.
Maths, shapes and sources: bpx/losses.
"""

from functools import partial
from types import SimpleNamespace

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable
from bpx_torch.kernels.cpu._losses import refuses

ABSENT = (None,) * 4


def refuses_others(arrays, dims):
    x = arrays[0]
    if x.dtype == torch.bfloat16 and any(a is not None and a.shape != x.shape for a in arrays):
        return "the gradient of a broadcast weight would be summed in bfloat16"
    return refuses(arrays, *arrays[1:])


def divisor(shape, reduction):
    """What a sum is divided by; 0 where there is none."""
    if reduction == "none":
        return 0
    if reduction == "batchmean":
        return shape[0]
    return shape.numel() if reduction == "mean" else 1


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


def difference_forward(name, option, kept, x, target, *, reduction, **options):
    dtype = x.dtype
    x, target = readable(x, dtype), readable(target, dtype)
    y = torch.empty(x.shape if reduction == "none" else (), dtype=dtype)
    keep = torch.empty(x.shape, dtype=kept or arithmetic(dtype))
    sizes, numbers = (x.numel(), divisor(x.shape, reduction)), (options.get(option, 0.0),)
    _call.run(f"{name}_forward", dtype, (x, target, y, keep), sizes, numbers)
    return y, (keep,)


def difference_backward(name, option, kept, dy, arrays, residuals, needs, *, reduction, **options):
    dtype = dy.dtype
    keep, dy = readable(residuals[0], kept or arithmetic(dtype)), readable(dy, dtype)
    dx, dtarget = (torch.empty(keep.shape, dtype=dtype) if need else None for need in needs)
    sizes, numbers = (keep.numel(), divisor(keep.shape, reduction)), (options.get(option, 0.0),)
    _call.run(f"{name}_backward", dtype, (dy, keep, dx, dtarget), sizes, numbers)
    return dx, dtarget


def term_kernel(name, chosen):
    return SimpleNamespace(
        forward=partial(forward, name, chosen),
        backward=partial(backward, name, chosen),
        refuses=refuses_others,
    )


def difference_kernel(name, option, kept=None):
    return SimpleNamespace(
        forward=partial(difference_forward, name, option, kept),
        backward=partial(difference_backward, name, option, kept),
        refuses=refuses_others,
    )


def numbers(*given, suffix=""):
    """What follows the name of the kernel, and its three options."""
    return suffix, (*given, *(0.0,) * (3 - len(given)))


def poisson(log_input, full, eps):
    return numbers(eps, suffix=("" if log_input else "_rate") + ("_full" if full else ""))


def focal(alpha, gamma):
    suffix = "" if gamma in (0, 1, 2, 3) else "_any"
    return numbers(alpha or 0.0, float(alpha is not None), gamma, suffix=suffix)


TERMS = {
    "binary_cross_entropy": numbers,
    "binary_cross_entropy_with_logits": numbers,
    "kl_div": lambda log_target: numbers(suffix="_log" if log_target else ""),
    "poisson_nll": poisson,
    "gaussian_nll": lambda full, eps: numbers(eps, float(full)),
    "hinge_embedding": lambda margin: numbers(margin),
    "soft_margin": numbers,
    "margin_ranking": lambda margin: numbers(margin),
    "focal": focal,
}
KERNELS = {
    **{name: term_kernel(name, chosen) for name, chosen in TERMS.items()},
    "mse": difference_kernel("mse", "factor"),
    "huber": difference_kernel("huber", "delta"),
    "smooth_l1": difference_kernel("smooth_l1", "beta"),
    "l1": difference_kernel("l1", None, torch.int8),
}
