"""batch_norm for JAX on the CPU, on XLA's own threads. Maths, shapes and source:
bpx/layers/batch_norm.py."""

from bpx_jax._running import nothing
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type
from bpx_jax.kernels.cpu._standardize import sizes


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def forward(x, weight, bias, running_mean, running_var, *, training, eps):
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    given = (x, *(as_type(a, statistic) for a in (weight, bias, running_mean, running_var)))
    each = (x.shape[1:2], statistic)
    results = ((x.shape, dtype), each, each, each)
    if x.ndim == 2:
        found = _ffi.call("batch_norm_rows_forward", dtype, given, results, x.shape, (eps,))
    else:
        found = _ffi.call("standardize_forward", dtype, given, results, (*sizes(x), 0), (eps,))
    return found[0], found[1:] if training else nothing(found[1])


def backward(dy, arrays, residuals, needs, *, training, eps):
    x, weight, *_ = arrays
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    # of running statistics the variance, whose root the kernel takes
    read = residuals[:2] if training else arrays[3:]
    given = (dy.astype(dtype), x, *(as_type(a, statistic) for a in (weight, *read)))
    each = (x.shape[1:2], statistic)
    made = ((x.shape, dtype), each, each, each, each)
    results = [r if need else None for r, need in zip(made, needs, strict=True)]
    if x.ndim == 2:
        shape = (*x.shape, not training)
        return _ffi.call("batch_norm_rows_backward", dtype, given, results, shape, (eps,))
    shape = (*sizes(x), 0, not training)
    return _ffi.call("standardize_backward", dtype, given, results, shape, (eps,))
