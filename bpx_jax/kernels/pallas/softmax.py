"""softmax for JAX in Pallas, and log_softmax beside it. Maths, shapes and sources:
bpx/layers/softmax.py, bpx/layers/log_softmax.py.

It works in float32 (float64 for float64 x). A row too long for registers is walked over twice.
Another axis than the last is brought there first.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from bpx import rule
from bpx_jax.kernels.pallas import _rows
from bpx_jax.kernels.pallas.cross_entropy import top_and_mass


def forward_body(row, x_ref, y_ref, *, columns, logarithm, dtype):
    x = x_ref[row].astype(dtype)
    shifted = x - x.max()  # the padding is -inf
    total = _rows.only(jnp.exp(shifted), columns).sum()
    y = shifted - jnp.log(total) if logarithm else jnp.exp(shifted) / total
    y_ref[row] = y.astype(y_ref.dtype)


def backward_body(row, dy_ref, y_ref, dx_ref, *, logarithm, dtype):
    dy, y = dy_ref[row].astype(dtype), y_ref[row].astype(dtype)
    # the padding of dy is zeros
    dx = dy - jnp.exp(y) * dy.sum() if logarithm else y * (dy - (dy * y).sum())
    dx_ref[row] = dx.astype(dx_ref.dtype)


def long_forward_body(row, x_ref, y_ref, *, columns, logarithm, dtype):
    width = x_ref.shape[1]
    top, mass = top_and_mass(row, x_ref, dtype)

    def load(start):
        return x_ref[row, pl.ds(start, _rows.block(width))]

    def step(start, first, x, nothing):
        shifted = x.astype(dtype) - top
        y = shifted - jnp.log(mass) if logarithm else jnp.exp(shifted) / mass
        y_ref[row, pl.ds(start, len(y))] = y.astype(y_ref.dtype)
        return nothing

    _rows.walk(width, load, step, 0)


def long_backward_body(row, dy_ref, y_ref, dx_ref, *, logarithm, dtype):
    width = dy_ref.shape[1]

    def load(start):
        at = pl.ds(start, _rows.block(width))
        return dy_ref[row, at], y_ref[row, at]

    def add(start, first, loaded, total):
        dy, y = (a.astype(dtype) for a in loaded)
        return total + _rows.unmet(dy if logarithm else dy * y, first, 0)

    total = _rows.walk(width, load, add, jnp.zeros(_rows.block(width), dtype)).sum()

    def step(start, first, loaded, nothing):
        dy, y = (a.astype(dtype) for a in loaded)
        dx = dy - jnp.exp(y) * total if logarithm else y * (dy - total)
        dx_ref[row, pl.ds(start, len(dx))] = dx.astype(dx_ref.dtype)
        return nothing

    _rows.walk(width, load, step, 0)


def refuses(arrays, dims):
    (x,) = arrays
    if x.size == 0:
        return "x has no elements"
    another = dims.get("dim", -1) % x.ndim != x.ndim - 1
    if another and jax.default_backend() == "gpu" and rule.asked() is None:
        return "it is over another axis than the last"
    return _rows.refuses(x, x.shape[-1], "the last axis", long=True)


@functools.partial(jax.jit, static_argnames=("dim", "logarithm"))
def forward(x, *, dim, logarithm=False):
    last = jnp.moveaxis(x, dim, -1)
    rows = _rows.Rows(last)
    body = forward_body if rows.width <= _rows.LARGEST else long_forward_body
    (y,) = _rows.call(
        functools.partial(body, columns=rows.columns, logarithm=logarithm, dtype=rows.dtype),
        (rows.like(x.dtype),),
        rows.count,
    )(rows.table(last, -jnp.inf))
    y = jnp.moveaxis(rows.unpad(y, last.shape), -1, dim)
    return y, (y,)


@functools.partial(jax.jit, static_argnames=("needs", "dim", "logarithm"))
def backward(dy, arrays, residuals, needs, *, dim, logarithm=False):
    (y,) = residuals
    lasts = [jnp.moveaxis(a, dim, -1) for a in (dy, y)]
    rows = _rows.Rows(lasts[1])
    body = backward_body if rows.width <= _rows.LARGEST else long_backward_body
    (dx,) = _rows.call(
        functools.partial(body, logarithm=logarithm, dtype=rows.dtype),
        (rows.like(y.dtype),),
        rows.count,
    )(*map(rows.table, lasts))
    return (jnp.moveaxis(rows.unpad(dx, lasts[1].shape), -1, dim),)
