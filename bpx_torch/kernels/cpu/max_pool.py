"""max_pool for torch on the CPU, on torch's own threads. Maths, shapes and source:
bpx/layers/max_pool.py."""

from bpx_torch.kernels.cpu import _call, _pool_call, _windows


def refuses(arrays, dims):
    return _call.refuses(arrays)


def axes(x, options):
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    return _windows.given(x.shape[2:], *(options[name] for name in names))


def forward(x, **options):
    return _pool_call.maxima(x, axes(x, options)), ()


def backward(dy, arrays, residuals, needs, **options):
    (x,) = arrays
    return (_pool_call.maxima_backward(dy, x, axes(x, options)),)
