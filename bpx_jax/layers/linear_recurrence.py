"""linear_recurrence for JAX. Maths, shapes and source: bpx/layers/linear_recurrence.py.

Parallel in time, except on a CPU, whose cores are kept busy by the batch and the channels: a step
h -> a h + b is a pair (a, b), and two steps are one again. Compiled also where the caller does not.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.layers.linear_recurrence import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def after(first, second):
    """The step that two steps are together."""
    (a, b), (c, d) = first, second
    return a * c, c * b + d


def together(a, b, *, reverse):
    return jax.lax.associative_scan(after, (a, b), reverse=reverse, axis=a.ndim - 2)[1]


def in_turn(a, b, *, reverse):
    """One step after the other, each written in the place of its b."""
    axis, last = a.ndim - 2, a.shape[-2] - 1

    def step(i, carry):
        y, h = carry
        t = last - i if reverse else i
        at = functools.partial(jax.lax.dynamic_index_in_dim, index=t, axis=axis, keepdims=False)
        h = at(a) * h + at(y)
        return jax.lax.dynamic_update_index_in_dim(y, h, t, axis), h

    start = b, b[..., -1 if reverse else 0, :]
    return jax.lax.fori_loop(1, last + 1, step, start)[0]


def scan(a, b, reverse):
    """h_t = a_t h_{t-1} + b_t over axis -2, from zeros."""
    if not a.shape[-2]:
        return b
    cpu, other = (functools.partial(way, reverse=reverse) for way in (in_turn, together))
    return jax.lax.platform_dependent(a, b, cpu=cpu, default=other)


def shifted(v, edge, back):
    """Each step's neighbour in v (*N T D), the one before it if `back`, else the one after it;
    `edge` (*N D) beyond the end."""
    edge = edge[..., None, :]
    parts = [edge, v[..., :-1, :]] if back else [v[..., 1:, :], edge]
    return jnp.concatenate(parts, -2)


@functools.partial(jax.jit, static_argnames="reverse")
def states(a, b, h0, *, reverse):
    wide = at_least_float32(a)
    b = b.astype(wide.dtype)
    if h0 is not None and wide.shape[-2]:
        first = -1 if reverse else 0
        # a step from h0 is one from zeros that adds a_1 h0
        b = b.at[..., first, :].add(wide[..., first, :] * h0.astype(wide.dtype))
    return scan(wide, b, reverse).astype(a.dtype)


def forward(a, b, h0, *, reverse):
    y = states(a, b, h0, reverse=reverse)
    return y, (y,)


def trim(y, *arrays, **options):
    """Of one step, backward reads h0 alone."""
    return y[..., :0, :] if y.shape[-2] == 1 else y


@functools.partial(jax.jit, static_argnames=("needs", "reverse"))
def backward(dy, arrays, residuals, needs, *, reverse):
    # g_t = dy_t + a_{t+1} g_{t+1}, a recurrence from the other end
    # db_t = g_t,  da_t = g_t h_{t-1},  dh0 = a_1 g_1
    a, _, h0 = arrays
    y = at_least_float32(residuals[0])
    a, dy = a.astype(y.dtype), dy.astype(y.dtype)
    zero = jnp.zeros((*y.shape[:-2], y.shape[-1]), y.dtype)
    h0 = zero if h0 is None else h0.astype(y.dtype)
    if not a.shape[-2]:
        return dy, dy, zero if needs[2] else None
    g = scan(shifted(a, zero, reverse), dy, not reverse)
    da = g * shifted(y, h0, not reverse)
    last = -1 if reverse else 0
    return da, g, a[..., last, :] * g[..., last, :] if needs[2] else None


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.linear_recurrence"),
        Kernel("plain", forward, backward),
    ),
    trim={"y": trim},
)


def linear_recurrence(a, b, h0=None, *, reverse=False):
    """All states (*N T D) of h_t = a_t h_{t-1} + b_t, from h0 (*N D) or zeros; a and b (*N T D).
    Maths: bpx/layers/linear_recurrence.py."""
    return RULE(a, b, h0, reverse=reverse)
