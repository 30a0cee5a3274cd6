"""The pools, resizing and flattening in plain JAX, for bpx_jax/oracles.py."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np


def _tuple(value, n):
    return value if isinstance(value, tuple) else (value,) * n


def _places(x, kernel_size, stride, padding, dilation, ceil_mode, fill):
    """What every window sees, one array for each place in the window: slices of the padded x."""
    n = x.ndim - 2
    k, p, d = _tuple(kernel_size, n), _tuple(padding, n), _tuple(dilation, n)
    s = k if stride is None else _tuple(stride, n)
    out = []
    for axis in range(n):
        size = x.shape[2 + axis]
        starts = range(-p[axis], size + p[axis], s[axis])
        reach = d[axis] * (k[axis] - 1) + 1
        if ceil_mode:  # begins inside, before the right padding, and holds something
            starts = [a for a in starts if a < size and a + reach - s[axis] < size + p[axis]]
        else:
            starts = [a for a in starts if a + reach <= size + p[axis]]
        out.append(len(starts))
    ends = [(o - 1) * t + e * (w - 1) + 1 for o, t, e, w in zip(out, s, d, k, strict=True)]
    after = [max(e - size - q, 0) for e, size, q in zip(ends, x.shape[2:], p, strict=True)]
    widths = [(0, 0), (0, 0), *zip(p, after, strict=True)]
    padded = jnp.pad(x, widths, constant_values=fill)
    for place in itertools.product(*(range(w) for w in k)):
        cut = [
            slice(i * e, i * e + (o - 1) * t + 1, t)
            for i, e, o, t in zip(place, d, out, s, strict=True)
        ]
        yield padded[(slice(None), slice(None), *cut)]


def _max_pool(x, *, kernel_size=2, stride=None, padding=0, dilation=1, ceil_mode=False):
    seen = _places(x, kernel_size, stride, padding, dilation, ceil_mode, -np.inf)
    return jnp.stack(list(seen), -1).max(-1)


def _avg_pool(
    x,
    *,
    kernel_size=2,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    def total(a):
        return sum(_places(a, kernel_size, stride, padding, 1, ceil_mode, 0.0))

    if divisor_override is not None:
        return total(x) / divisor_override
    ones = jnp.ones(x.shape, x.dtype)
    if count_include_pad:
        n = x.ndim - 2
        p = _tuple(padding, n)
        ones = jnp.pad(ones, ((0, 0), (0, 0), *zip(p, p, strict=True)), constant_values=1)
        counted = sum(_places(ones, kernel_size, stride or kernel_size, 0, 1, ceil_mode, 0.0))
        y = total(x)
        return y / counted[tuple(slice(s) for s in y.shape)]
    return total(x) / total(ones)


def _adaptive(x, output_size, maximum):
    for axis, out in enumerate(_tuple(output_size, x.ndim - 2), 2):
        size = x.shape[axis]
        o, p = np.indices((size if out is None else out, size))
        inside = (p >= o * size // len(o)) & (p < -(-(o + 1) * size // len(o)))
        inside = inside.reshape((1,) * (x.ndim - 1) + inside.shape)
        seen = jnp.where(inside, jnp.moveaxis(x, axis, -1)[..., None, :], -np.inf if maximum else 0)
        y = seen.max(-1) if maximum else seen.sum(-1) / jnp.asarray(inside.sum(-1), x.dtype)
        x = jnp.moveaxis(y, -1, axis)
    return x


def _adaptive_avg_pool(x, *, output_size=1):
    return _adaptive(x, output_size, False)


def _adaptive_max_pool(x, *, output_size=1):
    return _adaptive(x, output_size, True)


def _steps(x, size, scale_factor):
    """(axis, size of the output, step in x) of every spatial axis."""
    n = x.ndim - 2
    for axis, value in enumerate(_tuple(scale_factor if size is None else size, n), 2):
        s = x.shape[axis]
        out = int(s * value) if size is None else value
        yield axis, out, 1 / value if size is None else s / out


def _upsample_nearest(x, *, size=None, scale_factor=2.0, exact=False):
    for axis, out, step in _steps(x, size, scale_factor):
        place = np.floor((np.arange(out) + 0.5 * exact) * step)
        x = jnp.take(x, np.minimum(place, x.shape[axis] - 1).astype(np.int32), axis)
    return x


def _upsample_linear(x, *, size=None, scale_factor=2.0, align_corners=False):
    for axis, out, step in _steps(x, size, scale_factor):
        s = x.shape[axis]
        i = np.arange(out)[:, None]
        place = i * (s - 1) / max(out - 1, 1) if align_corners else (i + 0.5) * step - 0.5
        hats = np.maximum(1 - np.abs(np.clip(place, 0, s - 1) - np.arange(s)), 0.0)
        x = jnp.moveaxis(jnp.tensordot(x, jnp.asarray(hats, x.dtype), ((axis,), (1,))), -1, axis)
    return x


def _flatten(x, *, start_dim=0, end_dim=-1):
    if not x.ndim:
        return x.reshape(1)
    return jax.lax.collapse(x, start_dim % x.ndim, end_dim % x.ndim + 1)


ORACLES = {
    "flatten": _flatten,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive_avg_pool,
    "adaptive_max_pool": _adaptive_max_pool,
    "upsample_nearest": _upsample_nearest,
    "upsample_linear": _upsample_linear,
}

DIFFERS: dict[str, dict[str, str]] = {}
