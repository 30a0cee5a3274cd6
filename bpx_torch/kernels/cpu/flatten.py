"""flatten for torch on the CPU: the plain rule's views, by the short way of bpx_torch/_fast.py.
Maths, shapes and source: bpx/layers/flatten.py."""

from bpx_torch.kernels import _opaque


def refuses(arrays, dims):
    if (reason := _opaque.refuses(arrays)) is not None:
        return reason
    (x,) = arrays
    return None if x.is_cpu else f"x is on {x.device}"


def forward(x, *, start_dim, end_dim):
    return x.flatten(start_dim, end_dim), ()


def backward(dy, arrays, residuals, needs, *, start_dim, end_dim):
    # dx = dy, each element where it came from
    (x,) = arrays
    return (dy.reshape(x.shape),)
