"""layer_norm for JAX in Pallas. Maths, shapes and source: bpx/layers/layer_norm.py.

A program owns a block of whole rows, so x is read once and y written once. It works in float32
(float64 for float64 x). mu is stored rounded; the shift that this puts on every centred value is
their mean, and is taken off. Blocks have power-of-two sides, as Triton wants them: arrays are
padded to them, and the kernel masks the padding. In backward each program writes its own partial
dweight and dbias, added in XLA in a fixed order.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from bpx_jax.kernels.pallas._call import pallas_call
from bpx_jax.kernels.pallas._call import refuses as call_refuses

LARGEST = 65536  # elements of a row that fit in one block
BLOCK = 8192  # elements of a block of several rows


def forward_kernel(x_ref, weight_ref, bias_ref, y_ref, mu_ref, rstd_ref, *, columns, eps):
    mask = _mask(x_ref, columns)
    x = x_ref[...].astype(mu_ref.dtype)
    mu = x.sum(1, keepdims=True) / columns  # the padding is zeros
    xc = jnp.where(mask, x - mu, 0)
    xc = jnp.where(mask, xc - xc.sum(1, keepdims=True) / columns, 0)
    square = jnp.square(xc).sum(1, keepdims=True)
    # an infinite sum is NaN from here on, where 1 / inf would make zeros of it
    rstd = jnp.where(jnp.isinf(square), jnp.nan, 1 / jnp.sqrt(square / columns + eps))
    y_ref[...] = (xc * rstd * weight_ref[...] + bias_ref[...]).astype(y_ref.dtype)
    mu_ref[...] = mu
    rstd_ref[...] = rstd


def backward_kernel(
    dy_ref, x_ref, weight_ref, mu_ref, rstd_ref, dx_ref, dweight_ref, dbias_ref, *, columns
):
    mask = _mask(x_ref, columns)
    rstd = rstd_ref[...]
    dy = dy_ref[...].astype(rstd.dtype)
    xhat = jnp.where(mask, (x_ref[...].astype(rstd.dtype) - mu_ref[...]) * rstd, 0)
    xhat = jnp.where(mask, xhat - xhat.sum(1, keepdims=True) / columns, 0)
    g = dy * weight_ref[...]
    through_mu = g.sum(1, keepdims=True) / columns
    through_rstd = xhat * ((g * xhat).sum(1, keepdims=True) / columns)
    dx_ref[...] = (rstd * (g - through_mu - through_rstd)).astype(dx_ref.dtype)
    dweight_ref[...] = (dy * xhat).sum(0, keepdims=True)
    dbias_ref[...] = dy.sum(0, keepdims=True)


def refuses(arrays, dims):
    x, *parameters = arrays
    if (reason := call_refuses()) is not None:
        return reason
    if x.dtype != jnp.float64 and any(p is not None and p.dtype == jnp.float64 for p in parameters):
        return f"weight or bias is float64 beside {x.dtype} x"
    if dims["D"] > LARGEST:
        return f"D is {dims['D']}, at most {LARGEST} fit in one block"
    return "D is 0" if dims["D"] == 0 else None


@functools.partial(jax.jit, static_argnames="eps")
def forward(x, weight, bias, *, eps):
    rows = _Rows(x)
    statistic = rows.like(1, rows.dtype)
    if x.size == 0:
        return x, (jnp.zeros(rows.statistics, rows.dtype),) * 2
    y, mu, rstd = pallas_call(
        functools.partial(forward_kernel, columns=rows.columns, eps=eps),
        out_shape=(rows.like(rows.block[1], x.dtype), statistic, statistic),
        grid=(rows.blocks,),
        in_specs=(rows.tiled(), rows.whole(), rows.whole()),
        out_specs=(rows.tiled(), rows.tiled(1), rows.tiled(1)),
    )(rows.pad(x), rows.vector(weight, 1), rows.vector(bias, 0))
    return rows.unpad(y, x.shape), tuple(rows.unpad(r, rows.statistics) for r in (mu, rstd))


@functools.partial(jax.jit, static_argnames=("needs", "eps"))
def backward(dy, arrays, residuals, needs, *, eps):
    x, weight, _ = arrays
    rows = _Rows(x)
    if x.size == 0:
        empty = jnp.zeros((rows.columns,), rows.dtype)
        grads = (x, empty, empty)
    else:
        partial = jax.ShapeDtypeStruct((rows.blocks, rows.block[1]), rows.dtype)
        dx, dweight, dbias = pallas_call(
            functools.partial(backward_kernel, columns=rows.columns),
            out_shape=(rows.like(rows.block[1], x.dtype), partial, partial),
            grid=(rows.blocks,),
            in_specs=(rows.tiled(), rows.tiled(), rows.whole(), rows.tiled(1), rows.tiled(1)),
            out_specs=(rows.tiled(), *(pl.BlockSpec((1, rows.block[1]), lambda i: (i, 0)),) * 2),
        )(rows.pad(dy), rows.pad(x), rows.vector(weight, 1), *map(rows.pad, residuals))
        grads = (
            rows.unpad(dx, x.shape),
            dweight.sum(0)[: rows.columns],
            dbias.sum(0)[: rows.columns],
        )
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))


def _mask(x_ref, columns):
    return jax.lax.broadcasted_iota(jnp.int32, x_ref.shape, 1) < columns


class _Rows:
    """x as rows x columns, and the blocks it is cut into."""

    def __init__(self, x):
        self.columns = x.shape[-1]
        self.statistics = (*x.shape[:-1], 1)
        self.dtype = jnp.dtype("float64") if x.dtype == jnp.float64 else jnp.dtype("float32")
        self.rows = x.size // max(self.columns, 1)
        width = pl.next_power_of_2(max(self.columns, 1))
        height = min(max(BLOCK // width, 1), pl.next_power_of_2(max(self.rows, 1)))
        self.block = (height, width)
        self.blocks = pl.cdiv(self.rows, height)

    def like(self, width, dtype):
        return jax.ShapeDtypeStruct((self.blocks * self.block[0], width), dtype)

    def tiled(self, width=None):
        return pl.BlockSpec((self.block[0], width or self.block[1]), lambda i: (i, 0))

    def whole(self):
        return pl.BlockSpec((1, self.block[1]), lambda i: (0, 0))

    def pad(self, a):
        """An array over *N D or *N 1 in whole blocks, zeros behind it."""
        a = a.reshape(self.rows, a.shape[-1])
        width = 1 if a.shape[1] == 1 and self.columns != 1 else self.block[1]
        return jnp.pad(a, ((0, self.blocks * self.block[0] - self.rows), (0, width - a.shape[1])))

    def vector(self, parameter, absent):
        """weight or bias as one row, in the type of the arithmetic."""
        if parameter is None:
            return jnp.full((1, self.block[1]), absent, self.dtype)
        parameter = parameter.astype(self.dtype)
        return jnp.pad(parameter, (0, self.block[1] - self.columns))[None, :]

    def unpad(self, a, shape):
        return a[: self.rows, : shape[-1]].reshape(shape)
