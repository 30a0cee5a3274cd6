"""nll_loss for JAX. Maths, shapes and source: bpx/losses/nll_loss.py."""

import jax.numpy as jnp

from bpx.losses.nll_loss import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._labels import at, labels, onehot, over_labels
from bpx_jax._rule import Rule


def rows(shape, dtype, target, weight, ignore_index):
    """What `labels` says of the rows of an x of this shape, and of a weight widened like it."""
    weight = None if weight is None else weight.astype(dtype)
    return labels(target, shape[-1], weight, ignore_index, dtype)


def trim(weight, x, target, *arrays, ignore_index, reduction):
    """The weights of the labels, where there are fewer of them than classes."""
    if target.size >= weight.size:
        return weight
    return weight[labels(target, x.shape[-1], None, ignore_index, weight.dtype)[2]]


def forward(x, target, weight, *, ignore_index, reduction):
    wide = at_least_float32(x)
    ignored, _, label, wy = rows(x.shape, wide.dtype, target, weight, ignore_index)
    xy = jnp.where(ignored, 0.0, at(wide, label))
    loss = -wy * xy
    if reduction != "none":
        loss = over_labels(loss.sum(), wy) if reduction == "mean" else loss.sum()
    return loss.astype(x.dtype), (xy,)


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction):
    # With g = dy (over sum(wy) in a mean):
    #   dx = -g wy onehot(target)
    #   dweight[c] = -sum of g * x[target] over the rows with label c
    #                - sum of g * y over them, in a mean             through sum(wy)
    x, target, weight = arrays
    (xy,), g = residuals, at_least_float32(dy)
    ignored, outside, label, wy = rows(x.shape, g.dtype, target, weight, ignore_index)
    if reduction == "mean":
        g = over_labels(g, wy)
    here = onehot(label, x)
    dx = jnp.where(here, (-g * wy)[..., None], 0.0)
    dx = jnp.where(outside[..., None], jnp.nan, dx)
    dweight = None
    if needs[2]:
        y = over_labels((-wy * xy).sum(), wy) if reduction == "mean" else 0.0
        # 0 * wy: NaN for a label out of range
        dwy = jnp.where(ignored, 0.0, -g * (xy + y) + 0 * wy)
        dweight = jnp.where(here, dwy[..., None], 0.0).sum(tuple(range(here.ndim - 1)))
    return dx, None, dweight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.nll_loss"),
        Kernel("plain", forward, backward),
    ),
    trim={"weight": trim},
)


def nll_loss(x, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """Minus the log-probability in x (*N V) of the labels target (*N, integers); weight (V).
    Maths: bpx/losses/nll_loss.py."""
    return RULE(x, target, weight, ignore_index=ignore_index, reduction=reduction)
