"""The losses of terms and of a difference for JAX on the CPU: the native core by XLA FFI.

One pass over the arguments in forward, one in backward. An option that decides what is
computed chooses a kernel of its own by a suffix.
Maths, shapes and sources: bpx/losses.
"""

import math
from functools import partial
from types import SimpleNamespace

import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic
from bpx_jax.kernels.cpu._losses import fold, refuses

ABSENT = (None,) * 4


def refuses_others(arrays, dims):
    x = arrays[0]
    if x.dtype == jnp.bfloat16 and any(a is not None and a.shape != x.shape for a in arrays):
        return "the gradient of a broadcast weight would be summed in bfloat16"
    return refuses(arrays, *arrays[1:])


def divisor(shape, reduction):
    """What a sum is divided by; 0 where there is none."""
    if reduction == "none":
        return 0
    if reduction == "batchmean":
        return shape[0]
    return math.prod(shape) if reduction == "mean" else 1


def given(arrays, like):
    """The arguments as the kernels read them; a weight that is broadcast is written out."""
    read = [
        None if a is None else jnp.broadcast_to(a.astype(like.dtype), like.shape) for a in arrays
    ]
    return (*read, *ABSENT[len(read) :])


def summed(d, shape):
    """d summed over the axes that an array of this shape was broadcast along."""
    d = d.sum(tuple(range(d.ndim - len(shape))))
    return d.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def out(shape, dtype, reduction):
    return (shape if reduction == "none" else ()), dtype


def forward(name, chosen, *arrays, reduction, **options):
    x, (suffix, numbers) = arrays[0], chosen(**options)
    (y,) = _ffi.call(
        f"{name}{suffix}_forward",
        x.dtype,
        given(arrays, x),
        (out(x.shape, x.dtype, reduction),),
        (x.size, divisor(x.shape, reduction)),
        numbers,
        fold=fold(reduction),
    )
    return y, ()


def backward(name, chosen, dy, arrays, residuals, needs, *, reduction, **options):
    x, (suffix, numbers) = arrays[0], chosen(**options)
    made = [(x.shape, x.dtype) if need else None for need in needs]
    found = _ffi.call(
        f"{name}{suffix}_backward",
        x.dtype,
        (dy.astype(x.dtype), *given(arrays, x)),
        (*made, *ABSENT[len(made) :]),
        (x.size, divisor(x.shape, reduction)),
        numbers,
        fold=fold(reduction),
    )
    return tuple(
        d if d is None or a.shape == x.shape else summed(d, a.shape)
        for d, a in zip(found, arrays, strict=False)
    )


def difference_forward(name, option, kept, x, target, *, reduction, **options):
    y, keep = _ffi.call(
        f"{name}_forward",
        x.dtype,
        (x, target.astype(x.dtype)),
        (out(x.shape, x.dtype, reduction), (x.shape, kept or arithmetic(x.dtype))),
        (x.size, divisor(x.shape, reduction)),
        (options.get(option, 0.0),),
        fold=fold(reduction),
    )
    return y, (keep,)


def difference_backward(name, option, kept, dy, arrays, residuals, needs, *, reduction, **options):
    (keep,) = residuals
    made = tuple((keep.shape, dy.dtype) if need else None for need in needs)
    return _ffi.call(
        f"{name}_backward",
        dy.dtype,
        (dy, keep),
        made,
        (keep.size, divisor(keep.shape, reduction)),
        (options.get(option, 0.0),),
        fold=fold(reduction),
    )


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
    "l1": difference_kernel("l1", None, jnp.int8),
}
