"""avg_pool for torch on the CPU, on torch's own threads. Maths, shapes and source:
bpx/layers/avg_pool.py."""

from bpx_torch.kernels.cpu import _call, _pool_call, _windows


def refuses(arrays, dims):
    return _call.refuses(arrays)


def how(x, options):
    """The axes, whether padding counts, and what takes the place of the number of positions."""
    window = (options[name] for name in ("kernel_size", "stride", "padding"))
    axes = _windows.given(x.shape[2:], *window, 1, options["ceil_mode"])
    return axes, options["count_include_pad"], options["divisor_override"]


def forward(x, **options):
    return _pool_call.means(x, *how(x, options)), ()


def backward(dy, arrays, residuals, needs, **options):
    (x,) = arrays
    return (_pool_call.means_backward(dy, x, *how(x, options)),)
