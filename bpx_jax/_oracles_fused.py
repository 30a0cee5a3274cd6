"""JAX's usual formulation of a linear layer and what it is fused with, for bpx_jax/oracles.py."""

import jax
import jax.numpy as jnp


def _linear_cross_entropy(
    x,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    softcap=None,
    z_loss=0.0,
    num_items=None,
    chunk=4096,
):
    z, label = (x @ weight.T).reshape(target.size, weight.shape[0]), target.reshape(target.size)
    z = z if bias is None else z + bias[None]
    z = z if softcap is None else softcap * jnp.tanh(z / softcap)
    keep = label != ignore_index
    cw = jnp.ones_like(weight[:, 0]) if class_weight is None else class_weight
    label = jnp.where(keep, label, 0)
    logp = jax.nn.log_softmax(z)
    wy = jnp.where(keep, cw[label], 0.0)
    own = jnp.take_along_axis(logp, label[:, None], 1)[:, 0]
    even = jnp.where(keep, (cw[None] * logp).mean(-1), 0.0)
    loss = -(1 - label_smoothing) * wy * own
    if label_smoothing:  # 0 of a masked class's -inf would be NaN
        loss = loss - label_smoothing * even
    if z_loss:
        loss = loss + z_loss * wy * jax.nn.logsumexp(z, -1) ** 2
    if reduction == "none":
        return loss.reshape(target.shape)
    if reduction == "sum":
        return loss.sum()
    return loss.sum() / (wy.sum() if num_items is None else num_items)


_GATES = {
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "gelu": lambda g: jax.nn.gelu(g, approximate=False),
    "gelu_tanh": lambda g: jax.nn.gelu(g, approximate=True),
    "relu": jax.nn.relu,
}


def _gated_linear(x, gate, weight, bias=None, *, activation="silu"):
    y = (x * _GATES[activation](gate)) @ weight.T
    return y if bias is None else y + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


ORACLES = {"linear_cross_entropy": _linear_cross_entropy, "gated_linear": _gated_linear}

_NAN_MEAN = "value: the mean over nothing is NaN in JAX, 0 here"
DIFFERS: dict[str, dict[str, str]] = {
    "linear_cross_entropy": {"no rows": _NAN_MEAN, "all ignored": _NAN_MEAN}
}
