"""What the native kernels of the losses share: numbers of reductions, labels, types."""

import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi


def refuses(arrays, *alike):
    """None, or why no kernel runs; `alike` are read in the type of the first of the arrays, which
    must lose nothing of them."""
    dtype = arrays[0].dtype
    held = jnp.finfo(dtype)
    for a in alike:
        if a is None or a.dtype == dtype:
            continue
        given = jnp.finfo(a.dtype)
        if given.nmant > held.nmant or given.maxexp > held.maxexp:
            return f"an argument is {a.dtype} beside {dtype}"
    return _ffi.refuses(arrays)


def refuses_labels(target):
    """None, or why labels of this type are not read: int64 and int32 hold the others."""
    if jnp.issubdtype(target.dtype, jnp.unsignedinteger) and target.dtype.itemsize > 2:
        return f"target is {target.dtype}"
    return None


def labels(target):
    """The labels in a type that kernels read: int64, int32 or uint8."""
    read = target.dtype in (jnp.int64, jnp.int32, jnp.uint8)
    return target if read else target.astype(jnp.int32)


def fold(reduction, *vectors):
    """For _ffi.call: rows are alike where nothing sums over them and no vector weighs them."""
    return 0 if reduction == "none" and all(v is None for v in vectors) else -1
