"""The usual formulations of CTC, of a fixed point and of a reversible block in JAX, for
bpx_jax/oracles.py."""

import jax
import jax.numpy as jnp


# the forward algorithm as products of matrices over probabilities: no logarithm until the end
def _ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    *,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    def item(log_probs, targets, frames, length):
        count = 2 * len(targets) + 1
        labels = jnp.full(count, blank).at[1::2].set(targets)
        near = jnp.eye(count, dtype=log_probs.dtype) + jnp.eye(count, k=1, dtype=log_probs.dtype)
        far = jnp.eye(count, k=2, dtype=log_probs.dtype)
        moves = near + far * (labels[:, None] != labels[None]).astype(log_probs.dtype)
        p = jnp.zeros(count, log_probs.dtype).at[0].set(1)
        for t in range(len(log_probs)):
            p = jnp.where(t < frames, (p @ moves) * jnp.exp(log_probs[t])[labels], p)
        place = jnp.arange(count)
        ends = (place == 2 * length) | (place == 2 * length - 1)
        return -jnp.log(jnp.where(ends, p, 0).sum())

    if log_probs.ndim == 3:
        item = jax.vmap(item, (1, 0, 0, 0))
    loss = item(log_probs, targets, input_lengths, target_lengths)
    if zero_infinity:
        loss = jnp.where(jnp.isinf(loss), 0, loss)
    if reduction == "mean":
        return (loss / jnp.maximum(target_lengths, 1).astype(loss.dtype)).mean()
    return loss.sum() if reduction == "sum" else loss


_NAN_MEAN = "value: the mean over nothing is NaN in JAX, 0 here"


# differentiated through every iteration
def _deep_equilibrium(x, w_zz, w_xz, bias=None, *, max_iter=50):
    b_x = jnp.einsum("...i,hi->...h", x, w_xz)
    if bias is not None:
        b_x = b_x + jnp.broadcast_to(bias, b_x.shape)
    f = lambda _, z: jnp.tanh(jnp.einsum("...i,hi->...h", z, w_zz) + b_x)  # noqa: E731
    return jax.lax.fori_loop(0, max_iter, f, jnp.zeros_like(b_x))


def _reversible(x, w_f, w_g):
    x1, x2 = jnp.split(x, 2, -1)
    y1 = x1 + jnp.tanh(jnp.einsum("...i,hi->...h", x2, w_f))
    return jnp.concatenate([y1, x2 + jnp.tanh(jnp.einsum("...i,hi->...h", y1, w_g))], -1)


ORACLES = {
    "ctc_loss": _ctc_loss,
    "deep_equilibrium": _deep_equilibrium,
    "reversible": _reversible,
}

# The same where forward keeps its arguments alone and backward computes it again.
RECOMPUTED = {"reversible": jax.checkpoint(_reversible)}

DIFFERS: dict[str, dict[str, str]] = {
    "ctc_loss": {
        "a class of probability 0": "0 times the NaN behind a length is NaN",
        "no sequences": _NAN_MEAN,
        "impossible, zeroed": "0 times inf behind the where is NaN",
    },
    "deep_equilibrium": {"no equilibrium reached": "value: iterations alone do not tell"},
}
