"""What a linear layer with a cross-entropy takes from one walk over the vocabulary, in chunks.

A row's loss, in what the walk over the vocabulary leaves of its logits (s is label_smoothing):
    wy ((1 - s) (lse - z[target]) + z_loss lse^2) + s/V (sum(class_weight) lse - class_weight . z)
"""

import jax
import jax.numpy as jnp

from bpx_jax._dtype import at_least_float32, finite
from bpx_jax._labels import labels


def product(a, b, over):
    """a b over one axis of each, summed in float32 at least; a and b have one dtype."""
    wide = at_least_float32(a[:0]).dtype
    return jax.lax.dot_general(a, b, ((over[:1], over[1:]), ((), ())), preferred_element_type=wide)


def prepared(x, weight, target, class_weight, ignore_index):
    """One axis of rows: x in the dtype of weight and 0 where ignored, what labels() finds, and the
    class weights in the dtype of sums."""
    wide = at_least_float32(weight[:0]).dtype
    cw = None if class_weight is None else class_weight.astype(wide)
    rows = labels(target.reshape(target.size), weight.shape[0], cw, ignore_index, wide)
    x = x.reshape(target.size, x.shape[-1]).astype(weight.dtype)
    return jnp.where(rows[0][:, None], jnp.zeros_like(x), x), cw, rows


def walk(of_part, merge, vectors, label, chunk):
    """of_part(vectors, onehot) of every chunk of the vocabulary, where `vectors` has the rows of
    the arrays in it and `onehot` says where the rows' labels lie in it: (what merge makes of the
    first results, the second results along the vocabulary)."""
    classes = next(v.shape[0] for v in vectors if v is not None)
    full = (classes - 1) // chunk
    label = label.astype(jnp.int32)

    def at(start, size):
        found = (
            None if v is None else jax.lax.dynamic_slice_in_dim(v, start, size) for v in vectors
        )
        place = jax.lax.broadcasted_iota(jnp.int32, (label.shape[0], size), 1)
        return of_part(tuple(found), (label - start)[:, None] == place)

    def step(so_far, start):
        carried, stacked = at(start, chunk)
        return merge(so_far, carried), stacked

    last = full * chunk
    so_far, end = at(jnp.int32(last), classes - last)
    if not full:
        return so_far, end
    so_far, parts = jax.lax.scan(step, so_far, chunk * jnp.arange(full, dtype=jnp.int32))
    joined = jax.tree.map(
        lambda p, e: jnp.concatenate([p.reshape(last, *p.shape[2:]), e]), parts, end
    )
    return so_far, joined


def logits(x, weight, bias, softcap):
    z = product(x, weight, (1, 1))
    z = z if bias is None else z + bias.astype(z.dtype)[None]
    return z if softcap is None else softcap * jnp.tanh(z / softcap)


def kept(z, onehot, class_weight, s):
    """(top, mass, z of the label, class_weight . z) of the rows in one chunk: top is the largest
    logit, mass is log(sum(exp(z - top))). A chunk may be -inf, classes that are masked: its top and
    mass are."""
    zy = jnp.where(onehot, z, 0.0).sum(-1)
    top = z.max(-1)
    mass = jax.nn.logsumexp(z - finite(top)[:, None], -1)
    if not s:
        return top, mass, zy, None
    even = z if class_weight is None else z * class_weight[None]
    return top, mass, zy, even.sum(-1)


def joined(one, other):
    top = jnp.maximum(one[0], other[0])
    below, beside = (part[0] - finite(top) for part in (one, other))
    mass = jnp.logaddexp(one[1] + below, other[1] + beside)
    return top, mass, one[2] + other[2], None if one[3] is None else one[3] + other[3]


def of_label(lse, zy, s, z_loss):
    """What the weight of a row's label multiplies."""
    loss = (1 - s) * (lse - zy)
    return loss + z_loss * jnp.square(lse) if z_loss else loss


def row_losses(lse, zy, even, rows, class_weight, classes, s, z_loss):
    ignored, _, _, wy = rows
    loss = wy * of_label(lse, zy, s, z_loss)
    if s:
        whole = classes if class_weight is None else class_weight.sum()
        loss = loss + s / classes * (whole * lse - even)
    return jnp.where(ignored, 0.0, loss)
