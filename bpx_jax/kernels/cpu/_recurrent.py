"""What the recurrent layers' cpu kernels share. The products that need no walk through the steps
stay with XLA; the walk is one call."""

import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic

FEW = 16  # rows of all steps for which packing a large w_hh costs more than its products
LARGE = 1 << 16


def refuses(arrays, dims):
    if dims["T"] * dims["B"] < FEW and arrays[-4].size > LARGE:
        return f"it packs w_hh, which does not pay for {dims['T'] * dims['B']} rows"
    x = arrays[0]
    for a in arrays:
        if a is not None and jnp.issubdtype(a.dtype, jnp.floating) and a.dtype != x.dtype:
            return f"an argument is {a.dtype} beside {x.dtype}"
    return _ffi.refuses(arrays)


def projected(x, w_ih, *biases):
    """x_t w_ih^T + biases of every step (T B G), in the arithmetic type of x."""
    wide = arithmetic(x.dtype)
    a = jnp.einsum("tbi,gi->tbg", x.astype(wide), w_ih.astype(wide))
    biases = [b.astype(wide) for b in biases if b is not None]
    return a + sum(biases[1:], biases[0]).reshape(1, 1, -1) if biases else a


def counts(lengths):
    """The lengths in a type that the core reads, and its bytes."""
    if lengths is None or lengths.dtype.itemsize == 8:
        return None if lengths is None else lengths.astype("int64"), 8
    return lengths.astype("int32"), 4


def gradients(da, du, x, h0, h, w_ih, lengths, needs):
    """(dx, dw_ih, dw_hh, db_ih, db_hh) of the gradients of a = x w_ih^T + b_ih and of
    u = h w_hh^T + b_hh at all steps."""
    # dx = da w_ih;  dw_ih = da^T x,  dw_hh = du^T (h0, h_1, ..),  db_ih, db_hh = da, du summed
    wide = da.dtype
    if lengths is not None:  # what stands past an end, NaN too, has no part in a product
        count = lengths.astype("int32")
        ends = jnp.where((count >= 0) & (count <= len(x)), count, 0)
        step = jnp.arange(len(x), dtype="int32").reshape(-1, 1, 1)
        x = jnp.where(step < ends.reshape(1, -1, 1), x, 0.0)
    before = jnp.concatenate([h0.astype(wide)[None], h[:-1].astype(wide)])
    return (
        jnp.einsum("tbg,gi->tbi", da, w_ih.astype(wide)),
        jnp.einsum("tbg,tbi->gi", da, x.astype(wide)),
        jnp.einsum("tbg,tbh->gh", du, before),
        da.sum((0, 1)) if needs[3] else None,
        du.sum((0, 1)) if needs[4] else None,
    )
