"""The scores of one attention call, block by block, in JAX; for attention.py beside it."""

import jax
import jax.numpy as jnp
import numpy as np

from bpx.layers._attention import factor, limits, pairs, scale_of, threshold
from bpx_jax import random
from bpx_jax._dtype import at_least_float32


class Blocks:
    """Arrays as (B, K, G, T, X), G query heads to a key head, keys and values (B, K, S, X);
    lengths are padded with zeros to whole blocks. Blocks run in one scan over `starts`, where they
    begin in queries and in keys; those that nobody sees are left out."""

    def __init__(self, query, key, mask, dropout_key, size, options):
        b, h, self.queries = query.shape[:3]
        k, self.keys = key.shape[1:3]
        self.heads = (b, k, h // k if k else 1)
        self.size = tuple(
            max(1, min(n, s)) for n, s in zip((self.queries, self.keys), size, strict=True)
        )
        self.padded = tuple(
            -(-n // s) * s for n, s in zip((self.queries, self.keys), self.size, strict=True)
        )
        self.options, self.dropout_key = options, dropout_key
        self.scale = scale_of(options["scale"], query.shape[3])
        self.mask = self.matrix(mask)
        lines = pairs(self.queries, self.keys, self.size, options["causal"], options["window"])
        seen = [p for line in lines for p in line]
        self.starts = np.array([(p.i0, p.j0) for p in seen], np.int32).reshape(-1, 2)
        self.all_see = all(p.whole for p in seen) and self.padded[1] == self.keys

    def scan(self, step, init):
        """step(carry, i0, j0) -> carry, over every block that is seen."""
        if len(self.starts) < 2:  # XLA sees through a single block
            return step(init, *jnp.asarray(self.starts[0])) if len(self.starts) else init
        body = lambda carry, at: (step(carry, at[0], at[1]), None)  # noqa: E731
        return jax.lax.scan(body, init, jnp.asarray(self.starts))[0]

    def grouped(self, a):
        """(B, H, ...) as (B, K, G, ...); a dim of size 1 keeps it."""
        heads = self.heads[1:] if a.shape[1] != 1 or self.heads[1:] == (1, 1) else (1, 1)
        return a.reshape(a.shape[0], *heads, *a.shape[2:])

    def rows(self, a):
        """(B, H, T, X) in padded groups."""
        return longer(self.grouped(a), 3, self.padded[0])

    def columns(self, a):
        """(B, K, S, X), padded."""
        return longer(a, 2, self.padded[1])

    def matrix(self, a):
        """A bias or mask in padded groups, dims of size 1 as they are."""
        if a is None:
            return None
        a = self.grouped(a)
        for axis, n in ((3, self.padded[0]), (4, self.padded[1])):
            a = longer(a, axis, n) if a.shape[axis] > 1 else a
        return a

    def unpadded(self, a):
        """The rows of `rows` again: (B, H, T, X)."""
        a = a[:, :, :, : self.queries]
        return a.reshape(a.shape[0], a.shape[1] * a.shape[2], *a.shape[3:])

    def at_row(self, a, i0):
        return at_least_float32(jax.lax.dynamic_slice_in_dim(a, i0, self.size[0], 3))

    def at_column(self, a, j0):
        return at_least_float32(jax.lax.dynamic_slice_in_dim(a, j0, self.size[1], 2))

    def corner(self, a, i0, j0):
        """Where the block begins in a bias or mask, and its shape there."""
        zero = jnp.int32(0)
        start = [i0 if a.shape[3] > 1 else zero, j0 if a.shape[4] > 1 else zero]
        shape = [n if n == 1 else s for n, s in zip(a.shape[3:], self.size, strict=True)]
        return [zero] * 3 + start, (*a.shape[:3], *shape)

    def cut(self, a, i0, j0):
        return jax.lax.dynamic_slice(a, *self.corner(a, i0, j0))

    def scores(self, q, k, bias, i0, j0):
        """(s, tanh or None) of a block, -inf where a query does not see a key."""
        z = jnp.einsum("bkgid,bkjd->bkgij", q, k)
        c, t = self.options["softcap"], None
        if c is not None:
            t = jnp.tanh(z / c)
            z = t * c
        if bias is not None:
            z = z + at_least_float32(self.cut(bias, i0, j0))
        for seen in self.seen(i0, j0):
            z = jnp.where(seen, z, -jnp.inf)
        return z, t

    def seen(self, i0, j0):
        """Booleans, all of which have to be True where a query sees a key."""
        found = [] if self.mask is None else [self.cut(self.mask, i0, j0)]
        if self.all_see:
            return found
        i, j = self.places(i0, j0)
        left, right = limits(self.options["causal"], self.options["window"])
        within = j < self.keys
        within = within if left is None else within & (j - i >= -left)
        return [*found, within if right is None else within & (j - i <= right)]

    def places(self, i0, j0):
        """The numbers of a block's queries and keys."""
        i = i0 + jnp.arange(self.size[0], dtype=jnp.int32).reshape(1, 1, 1, -1, 1)
        return i, j0 + jnp.arange(self.size[1], dtype=jnp.int32).reshape(1, 1, 1, 1, -1)

    def drop(self, i0, j0, dtype):
        """What dropout multiplies a block by, (B, K, G, t, s); None without dropout."""
        p = self.options["dropout_p"]
        if p == 0:
            return None
        i, j = (n.astype(jnp.uint32) for n in self.places(i0, j0))
        head = jnp.arange(np.prod(self.heads), dtype=jnp.uint32).reshape(*self.heads, 1, 1)
        word, least = (
            random.words(self.dropout_key, head * jnp.uint32(self.queries) + i, j),
            threshold(p),
        )
        kept = word >= jnp.uint32(least) if least < 2**32 else jnp.zeros(word.shape, bool)
        return kept.astype(dtype) * factor(p)


def longer(a, axis, n):
    """Zeros behind, up to n along the axis."""
    if a.shape[axis] == n:
        return a
    return jnp.pad(a, [(0, n - m if d == axis else 0) for d, m in enumerate(a.shape)])
