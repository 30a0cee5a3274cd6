"""ctc_loss for JAX. Maths, shapes and source: bpx/losses/ctc.py.

A scan over the frames, forwards and backwards. Compiled also where the caller does not: an eager
scan is compiled again at every call.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.losses.ctc import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def places(targets, lengths, frames, classes, blank):
    """(labels of the places, where a place is entered from two before, where anything is out of
    range, the two lengths within range)."""
    t_n, u_n = (n.astype(jnp.int32) for n in lengths)
    most = targets.shape[-1]
    targets = targets.astype(jnp.int32)
    wrong = (targets < 0) | (targets >= classes)
    used = jax.lax.broadcasted_iota(jnp.int32, targets.shape, u_n.ndim) < u_n[..., None]
    outside = (t_n < 0) | (t_n > frames) | (u_n < 0) | (u_n > most) | (wrong & used).any(-1)
    targets = jnp.where(wrong, blank, targets)
    labels = jnp.stack([jnp.full_like(targets, blank), targets], -1)
    labels = labels.reshape(*u_n.shape, 2 * most)
    labels = jnp.concatenate([labels, jnp.full_like(u_n, blank)[..., None]], -1)
    jump = labels[..., 2:] != labels[..., :-2]
    jump = jnp.concatenate([jnp.zeros((*u_n.shape, 2), bool), jump], -1)[..., : 2 * most + 1]
    return labels, jump, outside, t_n.clip(0, frames), u_n.clip(0, most)


def log_sum_exp(*terms):
    """Over the terms, with -inf (and no gradient) where all of them are."""
    terms = jnp.stack(terms)
    top = jax.lax.stop_gradient(terms.max(0))
    dead = top == -jnp.inf
    top = jnp.where(dead, 0.0, top)
    total = jnp.where(dead, 1.0, jnp.exp(terms - top[None]).sum(0))
    return jnp.where(dead, -jnp.inf, top + jnp.log(total))


def moved(a, places):
    """a moved to later places (or, below 0, to earlier ones), with -inf behind it."""
    gone = jnp.full((*a.shape[:-1], abs(places)), -jnp.inf, a.dtype)
    if places > 0:
        return jnp.concatenate([gone, a], -1)[..., : a.shape[-1]]
    return jnp.concatenate([a, gone], -1)[..., -places:]


def emitted(log_probs, labels):
    return jax.vmap(lambda x: jnp.take_along_axis(x, labels, -1))(log_probs)


def live(t_n, frames):
    """(T *N): the frames that count."""
    return jax.lax.broadcasted_iota(jnp.int32, (frames, *t_n.shape), 0) < t_n[None]


def ended(states, u_n):
    """Loss from the log-probabilities of the places after the last frame."""
    last, before = (
        jnp.take_along_axis(states, at.clip(0)[..., None], -1)[..., 0]
        for at in (2 * u_n, 2 * u_n - 1)
    )
    return -log_sum_exp(last, jnp.where(u_n == 0, -jnp.inf, before))


@functools.partial(jax.jit, static_argnames=("blank", "reduction", "zero_infinity"))
def forward(log_probs, targets, input_lengths, target_lengths, *, blank, reduction, zero_infinity):
    x, frames = at_least_float32(log_probs), log_probs.shape[0]
    lengths = (input_lengths, target_lengths)
    labels, jump, outside, t_n, u_n = places(targets, lengths, frames, x.shape[-1], blank)
    start = jax.lax.broadcasted_iota(jnp.int32, labels.shape, u_n.ndim) == 0

    def step(a, at):
        e, count = at
        two = jnp.where(jump, moved(a, 2), -jnp.inf)
        a = jnp.where(count[..., None], e + log_sum_exp(a, moved(a, 1), two), a)
        return a, a

    a = jnp.where(start, 0.0, -jnp.inf).astype(x.dtype)
    a, alpha = jax.lax.scan(step, a, (emitted(x, labels), live(t_n, frames)))
    loss = ended(a, u_n)
    if zero_infinity:
        loss = jnp.where(loss == jnp.inf, 0.0, loss)
    loss = jnp.where(outside, jnp.nan, loss)
    if reduction == "mean":
        loss = (loss / jnp.maximum(u_n, 1).astype(loss.dtype)).sum() / max(loss.size, 1)
    elif reduction == "sum":
        loss = loss.sum()
    return loss.astype(log_probs.dtype), (alpha,)


@functools.partial(jax.jit, static_argnames=("needs", "blank", "reduction", "zero_infinity"))
def backward(dy, arrays, residuals, needs, *, blank, reduction, zero_infinity):
    # With g = dy (over the number of items and max(L, 1) in a mean):
    #   dlog_probs[t, c] = -g sum over the places s of label c of P(s at t | labels)
    #   P(s at t | labels) = exp(alpha[t, s] + beta[t, s] + loss)
    #   beta[t, s] = log-probability of the rest of the labels after frame t, from place s
    log_probs, targets, *lengths = arrays
    (alpha,) = residuals
    x, frames = at_least_float32(log_probs), log_probs.shape[0]
    labels, jump, outside, t_n, u_n = places(targets, lengths, frames, x.shape[-1], blank)
    place, end = jax.lax.broadcasted_iota(jnp.int32, labels.shape, u_n.ndim), 2 * u_n[..., None]
    ends = (place == end) | ((place == end - 1) & (end > 0))

    def step(b, at):
        e, count = at
        after = e + b
        two = moved(jnp.where(jump, after, -jnp.inf), -2)
        earlier = log_sum_exp(after, moved(after, -1), two)
        return jnp.where(count[..., None], earlier, b), b

    counts = live(t_n, frames)
    b = jnp.where(ends, 0.0, -jnp.inf).astype(x.dtype)
    _, beta = jax.lax.scan(step, b, (emitted(x, labels), counts), reverse=True)
    loss = ended(alpha[-1], u_n)
    impossible = loss == jnp.inf
    occupied = jnp.exp(alpha + beta + jnp.where(impossible, 0.0, loss)[None, ..., None])
    occupied = jnp.where(counts[..., None], occupied, 0.0)
    g = jnp.broadcast_to(dy.astype(x.dtype), u_n.shape)
    if reduction == "mean":
        g = g / max(u_n.size, 1) / jnp.maximum(u_n, 1).astype(x.dtype)
    each = -g[None, ..., None] * occupied
    dx = _by_label(each, labels, x)
    undefined = outside if zero_infinity else outside | impossible
    dx = jnp.where((counts & undefined[None])[..., None], jnp.nan, dx)
    return dx, None, None, None


def _by_label(each, labels, x):
    """Sums over the places of each class: (T *N M) to (T *N C)."""
    items = labels.reshape(-1, labels.shape[-1])
    each = each.reshape(len(x), *items.shape)
    row = jax.lax.broadcasted_iota(jnp.int32, items.shape, 0)
    sums = jnp.zeros((len(x), len(items), x.shape[-1]), x.dtype)
    return sums.at[:, row, items].add(each).reshape(x.shape)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.ctc"),
        Kernel("plain", forward, backward),
    ),
)


def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    *,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Minus the log-probability, in log_probs (T *N C), of the labels targets (*N S, integers) of
    which target_lengths (*N) count, aligned with input_lengths (*N) frames. Maths:
    bpx/losses/ctc.py."""
    return RULE(
        log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank=blank,
        reduction=reduction,
        zero_infinity=zero_infinity,
    )
