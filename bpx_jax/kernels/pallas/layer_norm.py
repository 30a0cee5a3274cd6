"""layer_norm for JAX in Pallas. Maths, shapes and source: bpx/layers/layer_norm.py.

It works in float32 (float64 for float64 x). mu is stored rounded; the shift that this puts on every
centred value is their mean, and is taken off. In backward a program takes its share of the rows and
adds up dweight and dbias over them.
"""

import functools

import jax
import jax.numpy as jnp

from bpx_jax.kernels.pallas import _rows


def forward_body(row, x_ref, weight_ref, bias_ref, y_ref, mu_ref, rstd_ref, *, columns, eps):
    x = x_ref[row].astype(mu_ref.dtype)
    mu = x.sum() / columns  # the padding is zeros
    xc = _rows.only(x - mu, columns)
    xc = _rows.only(xc - xc.sum() / columns, columns)
    square = (xc * xc).sum()
    # an infinite sum is NaN from here on, where its root would make zeros of it
    rstd = jnp.where(square == jnp.inf, jnp.nan, jax.lax.rsqrt(square / columns + eps))
    weight, bias = (p_ref[...].astype(x.dtype) for p_ref in (weight_ref, bias_ref))
    y_ref[row] = (xc * rstd * weight + bias).astype(y_ref.dtype)
    mu_ref[row] = mu
    rstd_ref[row] = rstd


def backward_body(
    program, dy_ref, x_ref, weight_ref, mu_ref, rstd_ref, dx_ref, dweight_ref, dbias_ref, *, columns
):
    dtype = rstd_ref.dtype
    weight = weight_ref[...].astype(dtype)

    def load(row):
        return dy_ref[row], x_ref[row], mu_ref[row], rstd_ref[row]

    def step(row, loaded, sums):
        dy, x, mu, rstd = loaded
        dweight, dbias = sums
        dy = dy.astype(dtype)
        xhat = _rows.only((x.astype(dtype) - mu) * rstd, columns)
        xhat = _rows.only(xhat - xhat.sum() / columns, columns)
        g = dy * weight
        through_rstd = xhat * ((g * xhat).sum() / columns)
        dx_ref[row] = (rstd * (g - g.sum() / columns - through_rstd)).astype(dx_ref.dtype)
        return dweight + dy * xhat, dbias + dy

    zeros = jnp.zeros(x_ref.shape[1], dtype)
    dweight_ref[program], dbias_ref[program] = _rows.each_row(
        program, x_ref.shape[0], load, step, (zeros, zeros)
    )


def refuses(arrays, dims):
    x, *parameters = arrays
    if x.dtype != jnp.float64 and any(p is not None and p.dtype == jnp.float64 for p in parameters):
        return f"weight or bias is float64 beside {x.dtype} x"
    return _rows.refuses(x, dims["D"])


@functools.partial(jax.jit, static_argnames="eps")
def forward(x, weight, bias, *, eps):
    rows = _rows.Rows(x)
    if x.size == 0:
        return x, (jnp.zeros(rows.statistics, rows.dtype),) * 2
    y, mu, rstd = _rows.call(
        functools.partial(forward_body, columns=rows.columns, eps=eps),
        (rows.like(x.dtype), rows.statistic(), rows.statistic()),
        rows.count,
    )(rows.table(x), rows.vector(weight, 1), rows.vector(bias, 0))
    return rows.unpad(y, x.shape), tuple(r.reshape(rows.statistics) for r in (mu, rstd))


@functools.partial(jax.jit, static_argnames=("needs", "eps"))
def backward(dy, arrays, residuals, needs, *, eps):
    x, weight, _ = arrays
    rows = _rows.Rows(x)
    if x.size == 0:
        empty = jnp.zeros((rows.columns,), rows.dtype)
        grads = (x, empty, empty)
    else:
        dx, dweight, dbias = _rows.call(
            functools.partial(backward_body, columns=rows.columns),
            (rows.like(x.dtype), rows.partial(), rows.partial()),
            _rows.few(rows.count),
        )(
            rows.table(dy),
            rows.table(x),
            rows.vector(weight, 1),
            *(r.reshape(rows.count) for r in residuals),
        )
        grads = (
            rows.unpad(dx, x.shape),
            dweight.sum(0)[: rows.columns],
            dbias.sum(0)[: rows.columns],
        )
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))
