"""What the recurrent layers' cpu kernels share. The walk through the steps is one call, which makes
the input's products on the way where both weights fit a core's cache, and in backward the input's
gradient: XLA would keep the products of all steps, add the bias in another pass, and read the
gradients from memory again. The weights' gradients are one call each."""

import math

import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type

FEW = 16  # rows of all steps for which packing a large w_hh costs more than its products
LARGE = 1 << 16
FITS = 1 << 18  # elements of w_ih that stay in a core's cache beside w_hh


def refuses(arrays, dims):
    if dims["T"] * dims["B"] < FEW and arrays[-4].size > LARGE:
        return f"it packs w_hh, which does not pay for {dims['T'] * dims['B']} rows"
    x = arrays[0]
    for a in arrays:
        if a is not None and jnp.issubdtype(a.dtype, jnp.floating) and a.dtype != x.dtype:
            return f"an argument is {a.dtype} beside {x.dtype}"
    return _ffi.refuses(arrays)


def added(b_ih, b_hh):
    """The sum of the biases that are there, or None."""
    biases = [b.astype(arithmetic(b.dtype)) for b in (b_ih, b_hh) if b is not None]
    return sum(biases[1:], biases[0]) if biases else None


def projected(x, w_ih, bias):
    """What the walk takes, in the arithmetic type of x: x, w_ih and bias, or x_t w_ih^T + bias of
    every step (T B G), None and None."""
    wide = arithmetic(x.dtype)
    x, w_ih, bias = (as_type(a, wide) for a in (x, w_ih, bias))
    if w_ih.size <= FITS:
        return x, w_ih, bias
    a = jnp.einsum("tbi,gi->tbg", x, w_ih)
    return a if bias is None else a + bias.reshape(1, 1, -1), None, None


def unprojected(x, w_ih, need):
    """What the walk backward takes, where it makes dx: w_ih in the arithmetic type of x, and dx as
    a result; else None and None."""
    made = need and w_ih.size <= FITS
    return (as_type(w_ih, arithmetic(x.dtype)), (x.shape, x.dtype)) if made else (None, None)


def counts(lengths):
    """The lengths in a type that the core reads, and its bytes."""
    if lengths is None or lengths.dtype.itemsize == 8:
        return None if lengths is None else lengths.astype("int64"), 8
    return lengths.astype("int32"), 4


def gradients(d, dx, x, h0, h, w_ih, lengths, needs, low=None):
    """(dx, dw_ih, dw_hh, db_ih, db_hh) of the gradients of a = x w_ih^T + b_ih and of
    u = h w_hh^T + b_hh at all steps: d (T B G), or, with `low`, d (T B more) of which the first G
    are da, and the first `low` and the last are du. dx: where the walk has made it. Of h what comes
    behind the hidden states is not read."""
    # dx = da w_ih;  dw_ih = da^T x,  dw_hh = du^T (h0, h_1, ..),  db_ih, db_hh = da, du summed
    wide, outs = d.dtype, len(w_ih)
    if lengths is not None:  # what stands past an end, NaN too, has no part in a product
        count = lengths.astype("int32")
        ends = jnp.where((count >= 0) & (count <= len(x)), count, 0)
        step = jnp.arange(len(x), dtype="int32").reshape(-1, 1, 1)
        x = jnp.where(step < ends.reshape(1, -1, 1), x, 0)
    dw_ih, db_ih = weight_gradient(d, x, None, (needs[1], needs[3]), outs, outs)
    dw_hh, db_hh = weight_gradient(d, h, h0, (needs[2], needs[4]), outs, low)
    if needs[0] and dx is None:
        dx = jnp.einsum("tbg,gi->tbi", d[..., :outs], w_ih.astype(wide))
    return dx, dw_ih, dw_hh, db_ih, db_hh


def weight_gradient(da, x, before, needs, outs=None, low=None):
    """(da^T x, da summed) over all steps and rows, in one call: XLA is slow at a product along the
    rows of both. With `before` (B I) x of a step is that of the step before. With `outs`, da are
    the first `low` columns of what is given, and the last of so many in all."""
    step, ins = da.shape[-1], x.shape[-1]
    outs = step if outs is None else outs
    low = outs if low is None else low
    if not needs[0]:
        da = jnp.concatenate([da[..., :low], da[..., step - outs + low :]], -1)
        return None, da.sum((0, 1)) if needs[1] else None
    results = ((outs, ins), da.dtype), ((outs,), da.dtype) if needs[1] else None
    rows = math.prod(da.shape[:-1])
    sizes = (rows, outs, ins, 0 if before is None else len(before), step, low)
    return _ffi.call("weight_gradient", x.dtype, (da, x, before), results, sizes)
