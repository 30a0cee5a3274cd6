"""optax.losses.ctc_loss over the rules of bpx, re-exported by bpx_jax.losses.

Stated differences from optax: the recursion is exact (optax: log(0) is log_epsilon within it), and
a sequence that cannot be aligned has loss -log_epsilon with gradient 0 (optax: a multiple of it,
with the gradient of its approximation); frames are padded at the end, as labels are.
"""

import jax.numpy as jnp

from bpx.spec import require
from bpx_jax.layers.log_softmax import log_softmax
from bpx_jax.losses.ctc import RULE as CTC


def ctc_loss(logits, logit_paddings, labels, label_paddings, *, blank_id=0, log_epsilon=-1e5):
    """Losses (B,) of logits (B, T, K) and labels (B, N), with 1 in the paddings (B, T) and (B, N)
    behind the end of each."""
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    logit_paddings, label_paddings = jnp.asarray(logit_paddings), jnp.asarray(label_paddings)
    for name, have, want in (
        ("logit_paddings", logit_paddings.shape, logits.shape[:-1]),
        ("label_paddings", label_paddings.shape, labels.shape),
    ):
        require(have == want, f"ctc_loss: {name} has shape {have}, expected {want}")
    require(logits.ndim == 3, f"ctc_loss: logits has shape {logits.shape}, expected (B, T, K)")
    input_lengths, target_lengths = (
        (p.shape[-1] - p.sum(-1)).astype(jnp.int32) for p in (logit_paddings, label_paddings)
    )
    loss, (alpha,) = CTC.with_residuals(
        jnp.swapaxes(log_softmax(logits), 0, 1),
        jnp.where(label_paddings == 0, labels, 0),
        input_lengths,
        target_lengths,
        blank=blank_id,
        reduction="none",
        zero_infinity=True,
    )
    place = jnp.arange(alpha.shape[-1], dtype=jnp.int32)[None]
    ends = (place == 2 * target_lengths[:, None]) | (place == 2 * target_lengths[:, None] - 1)
    impossible = jnp.all(jnp.where(ends, alpha[-1], -jnp.inf) == -jnp.inf, -1)
    return jnp.where(impossible, jnp.asarray(-log_epsilon, loss.dtype), loss)
