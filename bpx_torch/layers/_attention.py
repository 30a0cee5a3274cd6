"""The scores of one attention call, block by block, in PyTorch; for attention.py beside it."""

import functools

import torch

from bpx.layers._attention import factor, limits, pairs, scale_of, spans, threshold
from bpx_torch import random
from bpx_torch._dtype import at_least_float32

SIGN = -(2**31)


class Blocks:
    """The scores of one call, block by block: the query heads of one key head lie one under the
    other, (B, K, G t, s), and beside bias and mask (B, K, G, t, s)."""

    def __init__(self, query, key, bias, mask, dropout_key, size, options):
        b, h, self.queries = query.shape[:3]
        k, self.keys = key.shape[1:3]
        self.heads = (b, k, h // k if k else 1)
        self.query, self.key, self.options = query, key, options
        self.bias, self.mask = self.grouped(bias), self.grouped(mask)
        self.dropout_key = dropout_key
        self.scale = scale_of(options["scale"], query.shape[3])
        self.rows_at, self.columns_at = spans(self.queries, size[0]), spans(self.keys, size[1])
        self.lines = pairs(self.queries, self.keys, size, options["causal"], options["window"])

    def grouped(self, a):
        """(B, H, ...) as (B, K, G, ...); a dim of size 1 keeps it."""
        if a is None:
            return None
        heads = self.heads[1:] if a.shape[1] != 1 or self.heads[1:] == (1, 1) else (1, 1)
        return a.reshape(a.shape[0], *heads, *a.shape[2:])

    def rows(self, a, i0, i1):
        """The queries of a block, (B, H, T, X) to (B, K, G t, X), in float32 at least."""
        part = at_least_float32(self.grouped(a[:, :, i0:i1]))
        return part.flatten(2, 3)

    def whole(self, parts):
        """The blocks of rows (B, K, G t, X) as (B, H, T, X)."""
        parts = [p.unflatten(2, (self.heads[2], -1)) for p in parts]
        return torch.cat(parts, 3).flatten(1, 2)

    def apart(self, s):
        return s.unflatten(2, (self.heads[2], -1))

    def scores(self, q, k, pair):
        """(s, tanh or None) of a block, -inf where a query does not see a key."""
        z = q @ k.mT
        c, t = self.options["softcap"], None
        if c is not None:
            t = torch.tanh(z / c)
            z = t * c
        hidden = self.hidden(pair)
        if self.bias is None and hidden is None:
            return z, t
        s = self.apart(z)
        if self.bias is not None:
            s = s + at_least_float32(cut(self.bias, pair))
        if hidden is not None:
            s = s.masked_fill(hidden, -torch.inf)
        return s.flatten(2, 3), t

    def hidden(self, pair):
        """True where a query does not see a key; None where each sees each."""
        parts = [] if self.mask is None else [~cut(self.mask, pair)]
        if not pair.whole:
            left, right = limits(self.options["causal"], self.options["window"])
            offset = self.span(pair.j0, pair.j1) - self.span(pair.i0, pair.i1).unsqueeze(1)
            parts += [] if left is None else [offset < -left]
            parts += [] if right is None else [offset > right]
        return functools.reduce(torch.bitwise_or, parts) if parts else None

    def span(self, start, stop):
        return torch.arange(start, stop, device=self.query.device)

    def drop(self, pair, dtype):
        """What dropout multiplies a block by, (B, K, G t, s); None without dropout."""
        p = self.options["dropout_p"]
        if p == 0:
            return None
        b, k, g = self.heads
        head = torch.arange(b * k * g, device=self.query.device).view(b, k, g, 1)
        row = (head * self.queries + self.span(pair.i0, pair.i1)).flatten(2)
        word = random.words(self.dropout_key, row.unsqueeze(3), self.span(pair.j0, pair.j1))
        # with its sign bit turned a word compares as the unsigned number that torch cannot compare
        kept = (word ^ SIGN).long() >= threshold(p) + SIGN
        return kept.to(dtype) * factor(p)


def cut(a, pair):
    """The block of a bias or mask, of whose dims each may have size 1."""
    a = a if a.shape[3] == 1 else a[:, :, :, pair.i0 : pair.i1]
    return a if a.shape[4] == 1 else a[..., pair.j0 : pair.j1]
