"""info_nce for JAX. Maths, shapes and source: bpx/losses/info_nce.py."""

import jax
import jax.numpy as jnp

from bpx.losses.info_nce import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import each, reduce


def similarity(query, key, temperature):
    """(query and key widened, s)."""
    q = at_least_float32(query)
    k = key.astype(q.dtype)
    return q, k, q @ k.T / temperature


def forward(query, key, *, temperature, reduction):
    _, _, s = similarity(query, key, temperature)
    # lse(s) - s_ii, with no large lse to cancel where the pair is found
    apart = s - s.diagonal()[..., None]
    loss = jax.nn.logsumexp(apart, -1) if s.size else apart.sum(-1)
    return reduce(loss, reduction).astype(query.dtype), ()


def backward(dy, arrays, residuals, needs, *, temperature, reduction):
    # With g = dy (over the number of rows in a mean) and ds = g (softmax(s) - 1),
    # where softmax(s)_ii - 1 is minus the sum of the others:
    #   dquery = ds key / temperature,  dkey = ds^T query / temperature
    q, k, s = similarity(*arrays, temperature)
    g = each(dy.astype(q.dtype), len(q), reduction) / temperature
    own = jnp.eye(len(q), dtype=bool)
    others = jnp.where(own, 0.0, jax.nn.softmax(s) if s.size else s)
    pulls = jnp.where(own, -others.sum(-1, keepdims=True), others)
    ds = jnp.broadcast_to(g, len(q))[..., None] * pulls
    return ds @ k, ds.T @ q


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.info_nce"),
        Kernel("plain", forward, backward),
    ),
)


def info_nce(query, key, *, temperature=1.0, reduction="mean"):
    """-log softmax(query key^T / temperature) at the diagonal; query, key (N D). Maths:
    bpx/losses/info_nce.py."""
    return RULE(query, key, temperature=temperature, reduction=reduction)
