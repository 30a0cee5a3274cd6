"""linear_recurrence for PyTorch. Maths, shapes and source: bpx/layers/linear_recurrence.py.

Two levels: the sequence is cut into blocks, and step l of every block is taken at once, from which
the state that each block ends with follows; then the same steps again, from the states that the
blocks begin with. T steps take about 3 sqrt(T) operations.
"""

import math

import torch

from bpx.layers.linear_recurrence import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule

IN_ONE = 6  # up to this many steps, blocks do not pay


def scan(a, b, h, reverse):
    """h_t = a_t h_{t-1} + b_t over axis -2, from h (*N D) or, where that is None, from zeros."""
    steps = a.shape[-2]
    if steps == 0:
        return a * b if h is None else torch.addcmul(h.unsqueeze(-2), a, b)
    if steps <= IN_ONE:
        return torch.stack(states(a.unbind(-2), b.unbind(-2), h, reverse), -2)
    length = math.isqrt(steps)
    blocks = -(-steps // length)
    a, b = (in_blocks(v, blocks, length, reverse) for v in (a, b))
    a_l, b_l = a.unbind(-2), b.unbind(-2)  # step l of every block
    ends = states(a_l, b_l, None, reverse)[0 if reverse else -1]
    through = a_l[0]
    for gate in a_l[1:]:
        through = through * gate
    ends = states(through.unbind(-2), ends.unbind(-2), h, reverse)  # the blocks as steps
    first = torch.zeros_like(ends[0]) if h is None else h
    begin = [*ends[1:], first] if reverse else [first, *ends[:-1]]
    y = torch.stack(states(a_l, b_l, torch.stack(begin, -2), reverse), -2).flatten(-3, -2)
    return y[..., y.shape[-2] - steps :, :] if reverse else y[..., :steps, :]


def states(a, b, h, reverse):
    """All states, in the order of time, of the steps in the sequences a and b."""
    found = []
    for a_t, b_t in list(zip(a, b, strict=True))[:: -1 if reverse else 1]:
        h = b_t if h is None else torch.addcmul(b_t, a_t, h)
        found.append(h)
    return found[::-1] if reverse else found


def in_blocks(v, blocks, length, reverse):
    """v (*N T D) as (*N blocks length D), filled up with zeros where the steps end."""
    missing = blocks * length - v.shape[-2]
    if missing:
        none = v.new_zeros((*v.shape[:-2], missing, v.shape[-1]))
        v = torch.cat([none, v] if reverse else [v, none], -2)
    return v.unflatten(-2, (blocks, length))


def shifted(v, edge, back):
    """Each step's neighbour in v (*N T D), the one before it if `back`, else the one after it;
    `edge` (*N D) beyond the end."""
    edge = edge.unsqueeze(-2)
    parts = [edge, v[..., :-1, :]] if back else [v[..., 1:, :], edge]
    return torch.cat(parts, -2)


def forward(a, b, h0, *, reverse):
    wide = at_least_float32(a)
    h = None if h0 is None else h0.to(wide.dtype)
    y = scan(wide, b.to(wide.dtype), h, reverse).to(a.dtype)
    return y, (y,)


def take(y, a, b, h0, *, reverse):
    """All states but the last, which backward does not read. Of few steps from h0 autodiff holds no
    more; of many, y, which lives on in most programs, costs less than a copy of nearly all of it.
    """
    if h0 is None or not 0 < y.shape[-2] <= IN_ONE:
        return y
    return (y[..., 1:, :] if reverse else y[..., :-1, :]).clone()


def put(d, *, reverse):
    """The adjoint of take where that is a copy."""
    last = d.new_zeros((*d.shape[:-2], 1, d.shape[-1]))
    return torch.cat([last, d] if reverse else [d, last], -2)


def before(y, h0, steps, reverse):
    """The state that each step starts from, of all states or all but the last."""
    if y.shape[-2] == steps:
        return shifted(y, h0, not reverse)
    h0 = h0.unsqueeze(-2)
    return torch.cat([y, h0] if reverse else [h0, y], -2)


def backward(dy, arrays, residuals, needs, *, reverse):
    # g_t = dy_t + a_{t+1} g_{t+1}, a recurrence from the other end
    # db_t = g_t,  da_t = g_t h_{t-1},  dh0 = a_1 g_1
    a, _, h0 = arrays
    y = at_least_float32(residuals[0])
    a, dy = a.to(y.dtype), dy.to(y.dtype)
    zero = y.new_zeros((*y.shape[:-2], y.shape[-1]))
    h0 = zero if h0 is None else h0.to(y.dtype)
    if not a.shape[-2]:
        return dy, dy, zero if needs[2] else None
    g = scan(shifted(a, zero, reverse), dy, None, not reverse)
    da = g * before(y, h0, a.shape[-2], reverse) if needs[0] else None
    last = -1 if reverse else 0
    return da, g, a[..., last, :] * g[..., last, :] if needs[2] else None


def tangent(tangents, arrays, residuals, *, reverse):
    # th_t = a_t th_{t-1} + (ta_t h_{t-1} + tb_t), from th0
    a, _, h0 = arrays
    y = at_least_float32(residuals[0])
    if not a.shape[-2]:
        return torch.zeros_like(a)
    ta, tb, th0 = (None if t is None else t.to(y.dtype) for t in tangents)
    h0 = y.new_zeros((*y.shape[:-2], y.shape[-1])) if h0 is None else h0.to(y.dtype)
    drive = torch.zeros_like(a, dtype=y.dtype) if tb is None else tb
    if ta is not None:
        drive = drive + ta * before(y, h0, a.shape[-2], reverse)
    return scan(a.to(y.dtype), drive, th0, reverse).to(a.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.linear_recurrence"),
        Kernel("plain", forward, backward, tangent),
    ),
    part=(take, put),
)


def linear_recurrence(a, b, h0=None, *, reverse=False):
    """All states (*N T D) of h_t = a_t h_{t-1} + b_t, from h0 (*N D) or zeros; a and b (*N T D).
    Maths: bpx/layers/linear_recurrence.py."""
    return RULE(a, b, h0, reverse=reverse)
