"""The losses of terms and of a difference for JAX on the CPU: the native core by XLA FFI.

One pass over the arguments in forward, one in backward. An option that decides what is
computed chooses a kernel of its own by a suffix.
Maths, shapes and sources: bpx/losses.
"""

from functools import partial
from types import SimpleNamespace

import jax.numpy as jnp

from bpx.native.losses import DIFFERENCES, TERMS, divisor, options_of
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic
from bpx_jax.kernels.cpu._losses import fold, refuses

ABSENT = (None,) * 4
LARGEST = 1 << 21


def refuses_others(arrays, dims):
    x = arrays[0]
    if x.dtype == jnp.bfloat16 and any(a is not None and a.shape != x.shape for a in arrays):
        return "the gradient of a broadcast weight would be summed in bfloat16"
    return refuses(arrays, *arrays[1:])


def refuses_large(arrays, dims):
    """XLA fuses both passes of a squared difference and never writes it."""
    n = arrays[0].size
    if n > LARGEST:
        return f"a difference of {n:,} elements is not even written by XLA"
    return refuses_others(arrays, dims)


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


def difference_forward(name, kept, x, target, *, reduction, **options):
    y, keep = _ffi.call(
        f"{name}_forward",
        x.dtype,
        (x, target.astype(x.dtype)),
        (out(x.shape, x.dtype, reduction), (x.shape, kept or arithmetic(x.dtype))),
        (x.size, divisor(x.shape, reduction)),
        options_of(name, options),
        fold=fold(reduction),
    )
    return y, (keep,)


def difference_backward(name, kept, dy, arrays, residuals, needs, *, reduction, **options):
    (keep,) = residuals
    keep = keep if kept else keep.astype(arithmetic(dy.dtype))  # smooth_l1 may keep a sign
    made = tuple((keep.shape, dy.dtype) if need else None for need in needs)
    return _ffi.call(
        f"{name}_backward",
        dy.dtype,
        (dy, keep),
        made,
        (keep.size, divisor(keep.shape, reduction)),
        options_of(name, options),
        fold=fold(reduction),
    )


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
        refuses=refuses_large if name == "mse" else refuses_others,
    )


KERNELS = {
    **{name: term_kernel(name, chosen) for name, chosen in TERMS.items()},
    **{name: difference_kernel(name, jnp.int8 if name == "l1" else None) for name in DIFFERENCES},
}
