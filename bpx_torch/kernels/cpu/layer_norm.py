"""layer_norm for torch on the CPU: the native core by pointer, on torch's own threads.

Each row is read from memory once; the passes that the plain rule makes over memory happen in cache.
Maths, shapes and source: bpx/layers/layer_norm.py.
"""

import torch

from bpx import native
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.cpu import _pool

NAMES = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}


def refuses(arrays, dims):
    x, *parameters = arrays
    if (reason := _opaque.refuses(arrays)) is not None:
        return reason
    if x.device.type != "cpu":
        return f"x is on {x.device.type}"
    if x.dtype not in NAMES:
        return f"x is {_name(x)}, expected float32, float64 or bfloat16"
    for name, p in zip(("weight", "bias"), parameters, strict=True):
        if p is not None and p.device.type != "cpu":
            return f"{name} is on {p.device.type}"
        if p is not None and p.dtype == torch.float64 and x.dtype != torch.float64:
            return f"{name} is {_name(p)} beside {_name(x)} x"
    if dims["D"] == 0:
        return "D is 0"
    return native.available()


def forward(x, weight, bias, *, eps):
    x, statistic = _opaque.readable(x), _statistic(x)
    y = torch.empty_like(x)
    mu = torch.empty((*x.shape[:-1], 1), dtype=statistic)
    rstd = torch.empty_like(mu)
    # named: a pointer does not keep a copy alive
    weight, bias = _converted(weight, statistic), _converted(bias, statistic)
    function = getattr(native.library(), f"bpx_layer_norm_forward_{NAMES[x.dtype]}")
    pointers = map(_pointer, (x, weight, bias, y, mu, rstd))
    native.check(function(*pointers, mu.numel(), x.shape[-1], eps, *_pool.parallel_for()))
    return y, (mu, rstd)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight, _ = arrays
    x, dy = _opaque.readable(x), _opaque.readable(dy.to(x.dtype))
    mu, rstd = map(_opaque.readable, residuals)
    weight = _converted(weight, mu.dtype)  # named: a pointer does not keep a copy alive
    dx = torch.empty_like(x) if needs[0] else None
    dweight, dbias = (mu.new_empty(x.shape[-1]) if need else None for need in needs[1:])
    function = getattr(native.library(), f"bpx_layer_norm_backward_{NAMES[x.dtype]}")
    pointers = map(_pointer, (dy, x, weight, mu, rstd, dx, dweight, dbias))
    native.check(function(*pointers, mu.numel(), x.shape[-1], *_pool.parallel_for()))
    return dx, dweight, dbias


def _statistic(x):
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _converted(parameter, dtype):
    """The core takes weight and bias in the type of its arithmetic."""
    return None if parameter is None else _opaque.readable(parameter.detach().to(dtype))


def _pointer(a):
    return None if a is None else a.data_ptr()


def _name(a):
    return str(a.dtype).removeprefix("torch.")
