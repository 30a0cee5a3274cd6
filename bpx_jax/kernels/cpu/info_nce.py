"""info_nce for JAX on the CPU: the products by XLA, but for a key's gradient of few rows, and the
rows of the similarities by the native core. Maths, shapes and source: bpx/losses/info_nce.py."""

import jax.numpy as jnp

from bpx.native.losses import REDUCTIONS
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._recurrent import weight_gradient

FEW = 1024  # rows up to which XLA's product along the rows of both is the slower one


def refuses(arrays, dims):
    query, key = arrays
    if query.dtype not in (jnp.float32, jnp.float64) or key.dtype != query.dtype:
        return f"it takes float32 or float64, not {query.dtype} beside {key.dtype}"
    return _ffi.refuses(arrays)


def similarity(query, key, temperature):
    return (query / temperature) @ key.T


def forward(query, key, *, temperature, reduction):
    s, n = similarity(query, key, temperature), len(query)
    made = (((n,) if reduction == "none" else (), s.dtype),)
    return *_ffi.call("info_nce_forward", s.dtype, (s,), made, (n, REDUCTIONS[reduction])), ()


def backward(dy, arrays, residuals, needs, *, temperature, reduction):
    # With ds the gradient of the similarities over the temperature:
    #   dquery = ds key,  dkey = ds^T query
    query, key = arrays
    s, n = similarity(query, key, temperature), len(query)
    (ds,) = _ffi.call(
        "info_nce_backward",
        s.dtype,
        (dy.astype(s.dtype), s),
        ((s.shape, s.dtype),),
        (n, REDUCTIONS[reduction]),
        (1 / temperature,),
    )
    dkey = None
    if needs[1]:
        few = n <= FEW
        dkey = weight_gradient(ds, query, None, (True, False))[0] if few else ds.T @ query
    return ds @ key if needs[0] else None, dkey
