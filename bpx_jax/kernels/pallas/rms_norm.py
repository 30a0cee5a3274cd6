"""rms_norm for JAX in Pallas. Maths, shapes and source: bpx/layers/rms_norm.py.

It works in float32 (float64 for float64 x). In backward a program takes its share of the rows and
adds up dweight over them.
"""

import functools

import jax
import jax.numpy as jnp

from bpx_jax.kernels.pallas import _rows


def forward_body(row, x_ref, weight_ref, y_ref, rstd_ref, *, columns, eps):
    x = x_ref[row].astype(rstd_ref.dtype)
    square = (x * x).sum()  # the padding is zeros
    # an infinite sum is NaN from here on, where its root would make zeros of it
    rstd = jnp.where(square == jnp.inf, jnp.nan, jax.lax.rsqrt(square / columns + eps))
    y_ref[row] = (x * rstd * weight_ref[...].astype(x.dtype)).astype(y_ref.dtype)
    rstd_ref[row] = rstd


def backward_body(program, dy_ref, x_ref, weight_ref, rstd_ref, dx_ref, dweight_ref, *, columns):
    dtype = rstd_ref.dtype
    weight = weight_ref[...].astype(dtype)

    def load(row):
        return dy_ref[row], x_ref[row], rstd_ref[row]

    def step(row, loaded, dweight):
        dy, x, rstd = loaded
        dy = dy.astype(dtype)
        xhat = x.astype(dtype) * rstd
        g = dy * weight
        through_rstd = xhat * ((g * xhat).sum() / columns)
        dx_ref[row] = (rstd * (g - through_rstd)).astype(dx_ref.dtype)
        return dweight + dy * xhat

    zeros = jnp.zeros(x_ref.shape[1], dtype)
    dweight_ref[program] = _rows.each_row(program, x_ref.shape[0], load, step, zeros)


def refuses(arrays, dims):
    x, weight = arrays
    if x.dtype != jnp.float64 and weight is not None and weight.dtype == jnp.float64:
        return f"weight is float64 beside {x.dtype} x"
    return _rows.refuses(x, dims["D"])


@functools.partial(jax.jit, static_argnames="eps")
def forward(x, weight, *, eps):
    rows = _rows.Rows(x)
    if x.size == 0:
        return x, (jnp.zeros(rows.statistics, rows.dtype),)
    y, rstd = _rows.call(
        functools.partial(forward_body, columns=rows.columns, eps=eps),
        (rows.like(x.dtype), rows.statistic()),
        rows.count,
    )(rows.table(x), rows.vector(weight, 1))
    return rows.unpad(y, x.shape), (rstd.reshape(rows.statistics),)


@functools.partial(jax.jit, static_argnames=("needs", "eps"))
def backward(dy, arrays, residuals, needs, *, eps):
    x, weight = arrays
    rows = _rows.Rows(x)
    if x.size == 0:
        return x if needs[0] else None, jnp.zeros(rows.columns, rows.dtype) if needs[1] else None
    dx, dweight = _rows.call(
        functools.partial(backward_body, columns=rows.columns),
        (rows.like(x.dtype), rows.partial()),
        _rows.few(rows.count),
    )(rows.table(dy), rows.table(x), rows.vector(weight, 1), residuals[0].reshape(rows.count))
    dx, dweight = rows.unpad(dx, x.shape), dweight.sum(0)[: rows.columns]
    return dx if needs[0] else None, dweight if needs[1] else None
