"""group_norm and instance_norm for JAX on the CPU: the native core as an XLA FFI call. `groups`
sets of channels in each sample of x (B C *S) have a mean."""

import math

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type


def forward(x, weight, bias, groups, eps, *, variance):
    """(y, statistics (B groups)): mean, rstd and, where asked for, the variance."""
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    each = ((x.shape[0], groups), statistic)
    given = (x, as_type(weight, statistic), as_type(bias, statistic), None, None)
    results = ((x.shape, dtype), each, each, each if variance else None)
    y, *found = _ffi.call("standardize_forward", dtype, given, results, (*sizes(x), groups), (eps,))
    return y, tuple(found if variance else found[:2])


def backward(dy, x, weight, mean, rstd, needs, groups):
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    channel = (x.shape[1:2], statistic)
    made = ((x.shape, dtype), channel, channel)
    results = [r if need else None for r, need in zip(made, needs, strict=True)]
    given = (dy.astype(dtype), x, as_type(weight, statistic), mean, rstd)
    return _ffi.call(
        "standardize_backward", dtype, given, (*results, None, None), (*sizes(x), groups, 0), (0.0,)
    )[:3]


def sizes(x):
    """B, C and the number of places of x (B C *S)."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])
