"""adaptive_avg_pool for torch on the CPU, on torch's own threads. Maths, shapes and source:
bpx/layers/adaptive_avg_pool.py."""

from bpx.native import windows
from bpx_torch.kernels.cpu import _call, _pool_call


def refuses(arrays, dims):
    return _call.refuses(arrays)


def forward(x, *, output_size):
    return _pool_call.means(x, windows.adaptive(x.shape[2:], output_size)), ()


def backward(dy, arrays, residuals, needs, *, output_size):
    (x,) = arrays
    axes = windows.adaptive(x.shape[2:], output_size)
    return (_pool_call.means_backward(dy, x, axes),)
