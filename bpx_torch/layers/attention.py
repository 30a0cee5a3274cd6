"""attention for PyTorch. Maths, shapes and source: bpx/layers/attention.py.

Forward and backward go over blocks of queries and keys and never hold a (T, S) matrix; blocks that
causal or window hide wholly are left out. Sums are in float32 or float64.
"""

import functools

import torch

from bpx.layers.attention import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, finite
from bpx_torch._rule import Rule
from bpx_torch.layers._attention import Blocks

BLOCK = (128, 128)  # queries, keys


def forward(query, key, value, bias, mask, dropout_key, *, size=BLOCK, **options):
    c = Blocks(query, key, bias, mask, dropout_key, size, options)
    ys, tops, masses = [], [], []
    for (i0, i1), line in zip(c.rows_at, c.lines, strict=True):
        q = c.rows(query, i0, i1) * c.scale
        m = q.new_full((*q.shape[:3], 1), -torch.inf)
        # no keys yet: zeros, which autograd still sees come from the arguments
        none_k, none_v = (at_least_float32(a[:, :, :0]) for a in (key, value))
        total, y = torch.zeros_like(m), q @ none_k.mT @ none_v
        for pair in line:
            k, v = (at_least_float32(a[:, :, pair.j0 : pair.j1]) for a in (key, value))
            s, _ = c.scores(q, k, pair)
            largest = torch.maximum(m, s.detach().amax(3, keepdim=True))  # a constant: y is without
            e = (s - finite(largest)).exp_()
            shrink = torch.exp(m - finite(largest))
            drop = c.drop(pair, e.dtype)
            total = total * shrink + e.sum(3, keepdim=True)
            y = y * shrink + (e if drop is None else e * drop) @ v
            m = largest
        some = total.masked_fill(total == 0, 1.0)
        ys.append((y / some).to(query.dtype))
        tops.append(finite(m))
        masses.append(some.log())
    if not ys:
        y = query.new_zeros((*query.shape[:3], value.shape[3]))
        none = at_least_float32(y.new_zeros(y.shape[:3]))
        return y, (y, none, none.clone())
    y = c.whole(ys)
    return y, (y, c.whole(tops).squeeze(3), c.whole(masses).squeeze(3))


def backward(dy, arrays, residuals, needs, *, size=BLOCK, **options):
    query, key, value, bias, mask, dropout_key = arrays
    y, top, mass = residuals
    c = Blocks(query, key, bias, mask, dropout_key, size, options)
    columns = c.columns_at
    dqueries, dbiases = [], []
    dkeys, dvalues = [None] * len(columns), [None] * len(columns)
    for (i0, i1), line in zip(c.rows_at, c.lines, strict=True):
        q, g, out = (c.rows(a, i0, i1) for a in (query, dy, y))
        q = q * c.scale
        largest, rest = (c.rows(a.unsqueeze(3), i0, i1) for a in (top, mass))
        # sum over j of dp_j p_j = <dy, y>, as y is rounded; from a whole row without that
        delta = (g * out).sum(3, keepdim=True) if len(columns) > 1 else None
        dq, dbias = torch.zeros_like(q), [None] * len(columns)
        for pair in line:
            j = pair.column
            k, v = (at_least_float32(a[:, :, pair.j0 : pair.j1]) for a in (key, value))
            s, t = c.scores(q, k, pair)
            p = (s - largest - rest).exp_()
            drop = c.drop(pair, p.dtype)
            if needs[2]:  # dvalue = (p drop)^T dy
                dvalues[j] = plus(dvalues[j], (p if drop is None else p * drop).mT @ g)
            dp = g @ v.mT
            if drop is not None:
                dp = dp * drop
            if len(columns) == 1:
                delta = (p * dp).sum(3, keepdim=True)
            ds = p * (dp - delta)  # of the softmax
            if needs[3]:  # dbias = ds, summed over what bias was broadcast to
                dbias[j] = reduced(c.apart(ds), c.bias)
            dz = ds if t is None else ds * (1 - t * t)  # of the softcap
            dq = dq + dz @ k  # dquery = scale dz key
            if needs[1]:  # dkey = scale dz^T query
                dkeys[j] = plus(dkeys[j], dz.mT @ q)
        dqueries.append(dq * c.scale)
        dbiases.append(dbias)
    return (
        c.whole(dqueries) if dqueries else torch.zeros_like(query),
        joined(dkeys, columns, key),
        joined(dvalues, columns, value),
        None if bias is None or not needs[3] else over_blocks(c, dbiases).reshape(bias.shape),
        None,
        None,
    )


def plus(a, b):
    return b if a is None else a + b


def joined(parts, columns, like):
    """Blocks along the keys as one array; zeros for those that no query sees."""
    parts = [
        torch.zeros_like(like[:, :, j0:j1], dtype=at_least_float32(like[..., :0]).dtype)
        if p is None
        else p
        for p, (j0, j1) in zip(parts, columns, strict=True)
    ]
    return torch.cat(parts, 2) if parts else torch.zeros_like(like)


def reduced(ds, bias):
    """The sum of a block over the dims in which bias has size 1."""
    dims = [d for d in range(5) if bias.shape[d] == 1 and ds.shape[d] > 1]
    return ds.sum(dims, keepdim=True) if dims else ds


def over_blocks(c, grid):
    """dbias (B, K, G, T, S) from its blocks: side by side where bias has the dim, else summed."""
    wide, long = c.bias.shape[4] > 1, c.bias.shape[3] > 1
    zeros = torch.zeros_like(c.bias, dtype=at_least_float32(c.bias[..., :0]).dtype)
    lines = []
    for (i0, i1), line in zip(c.rows_at, grid, strict=True):
        tall = zeros[:, :, :, i0:i1] if long else zeros
        cells = [
            (tall[..., j0:j1] if wide else tall) if cell is None else cell
            for cell, (j0, j1) in zip(line, c.columns_at, strict=True)
        ]
        if cells:
            lines.append(torch.cat(cells, 4) if wide else sum(cells[1:], cells[0]))
    if not lines:
        return zeros
    return torch.cat(lines, 3) if long else sum(lines[1:], lines[0])


def plain(size=BLOCK):
    """The kernel with blocks of this many (queries, keys)."""
    return Kernel(
        "plain", functools.partial(forward, size=size), functools.partial(backward, size=size)
    )


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.attention"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.attention"),
        plain(),
    ),
    autocast="lower",
)


def attention(
    query,
    key,
    value,
    bias=None,
    mask=None,
    dropout_key=None,
    *,
    causal=False,
    window=None,
    scale=None,
    softcap=None,
    dropout_p=0.0,
):
    """softmax(scale query key^T + bias) value: query (B, H, T, D), key (B, K, S, D), value
    (B, K, S, E), H a multiple of K; bias and mask (booleans, True takes part) broadcast to
    (B, H, T, S); dropout_key the two uint32 words of a key. Maths: bpx/layers/attention.py."""
    options = {"causal": causal, "window": window, "scale": scale}
    options |= {"softcap": softcap, "dropout_p": dropout_p}
    return RULE(query, key, value, bias, mask, dropout_key, **options)
