"""rope for JAX. Maths, shapes and source: bpx/layers/rope.py."""

import jax.numpy as jnp

from bpx.layers.rope import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def split(x, pairs, interleaved):
    """(first of each pair, second of each pair, what is not turned)."""
    turned, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    if interleaved:
        return turned[..., 0::2], turned[..., 1::2], rest
    return turned[..., :pairs], turned[..., pairs:], rest


def turn(x, cos, sin, interleaved):
    """x turned by the angles of cos and sin, in the dtype of x."""
    a, b, rest = split(at_least_float32(x), cos.shape[1], interleaved)
    cos, sin = (jnp.broadcast_to(t.astype(a.dtype), a.shape) for t in (cos, sin))
    y1, y2 = a * cos - b * sin, b * cos + a * sin
    if interleaved:
        both = jnp.stack([y1, y2], -1).reshape(*a.shape[:-1], 2 * a.shape[-1])
        return jnp.concatenate([both, rest], -1).astype(x.dtype)
    return jnp.concatenate([y1, y2, rest], -1).astype(x.dtype)


def forward(x, cos, sin, *, interleaved):
    return turn(x, cos, sin, interleaved), ()


def backward(dy, arrays, residuals, needs, *, interleaved):
    # dx = dy turned back, by the angles of cos and -sin
    # dcos = sum(dy1 x1 + dy2 x2),  dsin = sum(dy2 x1 - dy1 x2) over all but the last two dims
    x, cos, sin = arrays
    rows = tuple(range(x.ndim - 2))
    x1, x2, _ = split(at_least_float32(x), cos.shape[1], interleaved)
    dy1, dy2, _ = split(at_least_float32(dy), cos.shape[1], interleaved)
    dcos, dsin = (dy1 * x1 + dy2 * x2).sum(rows), (dy2 * x1 - dy1 * x2).sum(rows)
    return turn(dy, cos, -sin, interleaved), dcos, dsin


def turned(x, _, cos, sin, *, interleaved):
    """The features that are turned."""
    return x if 2 * cos.shape[1] == x.shape[-1] else x[..., : 2 * cos.shape[1]]


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.rope"),
        Kernel("plain", forward, backward),
    ),
    {"x": turned},
)


def rope(x, cos, sin, *, interleaved=False):
    """x (*N T D) with its first 2 P features turned in pairs by the tables cos, sin (T P); pairs
    are halves, or neighbours with interleaved. Maths: bpx/layers/rope.py."""
    return RULE(x, cos, sin, interleaved=interleaved)
