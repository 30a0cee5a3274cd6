"""group_norm for JAX on the CPU, on XLA's own threads. Maths, shapes and source:
bpx/layers/group_norm.py."""

from bpx_jax.kernels.cpu import _ffi, _standardize


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def forward(x, weight, bias, *, num_groups, eps):
    return _standardize.forward(x, weight, bias, num_groups, eps, variance=False)


def backward(dy, arrays, residuals, needs, *, num_groups, eps):
    x, weight, _ = arrays
    return _standardize.backward(dy, x, weight, *residuals, needs, num_groups)
