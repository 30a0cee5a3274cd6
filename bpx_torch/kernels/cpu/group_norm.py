"""group_norm for torch on the CPU, on torch's own threads. Maths, shapes and source:
bpx/layers/group_norm.py."""

from bpx_torch.kernels.cpu import _call, _standardize


def refuses(arrays, dims):
    return _call.refuses(arrays)


def forward(x, weight, bias, *, num_groups, eps):
    return _standardize.forward(x, weight, bias, num_groups, eps, variance=False)


def backward(dy, arrays, residuals, needs, *, num_groups, eps):
    x, weight, _ = arrays
    return _standardize.backward(dy, x, weight, *residuals, needs, num_groups)
