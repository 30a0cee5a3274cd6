"""triplet_margin for JAX. Maths, shapes and source: bpx/losses/triplet_margin.py."""

import jax.numpy as jnp

from bpx.losses.triplet_margin import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import each, reduce


def differences(anchor, positive, negative, swap, eps):
    """What is kept: anchor - positive, anchor - negative, and positive - negative with swap, none
    without; eps added to each."""
    anchor = at_least_float32(anchor)
    positive, negative = (a.astype(anchor.dtype) for a in (positive, negative))
    up, un = anchor - positive + eps, anchor - negative + eps
    if not swap:
        return up, un, jnp.zeros((0, *up.shape), up.dtype)
    return up, un, (positive - negative + eps)[None]


def distance(u):
    """(u / d, d) of a difference u; 0 / 0 is 0."""
    total = jnp.square(u).sum(-1, keepdims=True)
    same = total == 0
    d = jnp.sqrt(jnp.where(same, 1.0, total))
    return jnp.where(same, 0.0, u / d), jnp.where(same, 0.0, d)[..., 0]


def lines(kept, margin, swap):
    """(units, shares, z): the directions of the distances anchor-positive, anchor-negative and
    positive-negative, the share of the last two in dn, and dp - dn + margin."""
    up, dp = distance(kept[0])
    un, dn = distance(kept[1])
    if not swap:
        return (up, un, None), (jnp.ones_like(dn), None), dp - dn + margin
    us, ds = distance(kept[2][0])
    own = jnp.where(dn == ds, 0.5, (dn < ds).astype(dn.dtype))
    return (up, un, us), (own, 1 - own), dp - jnp.minimum(dn, ds) + margin


def forward(anchor, positive, negative, *, margin, swap, eps, reduction):
    kept = differences(anchor, positive, negative, swap, eps)
    _, _, z = lines(kept, margin, swap)
    return reduce(jnp.maximum(z, 0), reduction).astype(anchor.dtype), kept


def backward(dy, arrays, residuals, needs, *, margin, swap, eps, reduction):
    # With g = dy (over the number of rows in a mean) where z >= 0, the unit vectors up, un, us of
    # the three differences, and the shares own + other = 1 of the last two distances in dn:
    #   danchor   =  g up - g own un
    #   dpositive = -g up - g other us
    #   dnegative =  g own un + g other us
    (up, un, us), (own, other), z = lines(residuals, margin, swap)
    g = jnp.where(z >= 0, each(dy.astype(z.dtype), z.size, reduction), 0.0)[..., None]
    pull, push = g * up, g * own[..., None] * un
    if not swap:
        return pull - push, -pull, push
    swapped = g * other[..., None] * us
    return pull - push, -pull - swapped, push + swapped


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.triplet_margin"),
        Kernel("plain", forward, backward),
    ),
)


def triplet_margin(
    anchor, positive, negative, *, margin=1.0, swap=False, eps=1e-6, reduction="mean"
):
    """max(|anchor - positive| - |anchor - negative| + margin, 0), all (*N D). Maths:
    bpx/losses/triplet_margin.py."""
    return RULE(anchor, positive, negative, margin=margin, swap=swap, eps=eps, reduction=reduction)
