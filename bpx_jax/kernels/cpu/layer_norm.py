"""layer_norm for JAX on the CPU: the native core as an XLA FFI call, on XLA's own threads.

Each row is read from memory once; the passes that the plain rule makes over memory happen in cache.
Its custom calls are of this version of bpx: jax.export refuses to write them down and names them;
export within bpx.use("plain"), which gives a portable program.
Maths, shapes and source: bpx/layers/layer_norm.py.
"""

import jax
import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi

TYPES = ("float32", "float64", "bfloat16")


def refuses(arrays, dims):
    x, *parameters = arrays
    if (backend := jax.default_backend()) != "cpu":
        return f"the default backend is {backend}"
    if str(x.dtype) not in TYPES:
        return f"x is {x.dtype}, expected one of {list(TYPES)}"
    for name, p in zip(("weight", "bias"), parameters, strict=True):
        if p is not None and p.dtype == jnp.float64 and x.dtype != jnp.float64:
            return f"{name} is {p.dtype} beside {x.dtype} x"
    if dims["D"] == 0:
        return "D is 0"
    if (devices := jax.device_count()) > 1:
        return f"there are {devices} devices, and XLA would gather a sharded x for a custom call"
    return _ffi.available()


def forward(x, weight, bias, *, eps):
    rows = jax.ShapeDtypeStruct((*x.shape[:-1], 1), _statistic(x))
    call = jax.ffi.ffi_call(
        _ffi.FORWARD,
        (jax.ShapeDtypeStruct(x.shape, x.dtype), rows, rows),
        vmap_method="broadcast_all",
    )
    y, mu, rstd = call(x, _present(weight, x), _present(bias, x), eps=float(eps))
    return y, (mu, rstd)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight, _ = arrays
    mu, rstd = residuals
    features = [jax.ShapeDtypeStruct((x.shape[-1] * need,), _statistic(x)) for need in needs[1:]]
    call = jax.ffi.ffi_call(
        _ffi.BACKWARD,
        (jax.ShapeDtypeStruct(x.shape if needs[0] else (0,), x.dtype), *features),
        vmap_method="broadcast_all",
    )
    dx, dweight, dbias = call(dy.astype(x.dtype), x, _present(weight, x), mu, rstd)
    return tuple(g if need else None for g, need in zip((dx, dweight, dbias), needs, strict=True))


def _statistic(x):
    return jnp.dtype("float64") if x.dtype == jnp.float64 else jnp.dtype("float32")


def _present(parameter, x):
    """The core takes weight and bias in the type of its arithmetic; length 0 says absent."""
    dtype = _statistic(x)
    return jnp.zeros((0,), dtype) if parameter is None else parameter.astype(dtype)
