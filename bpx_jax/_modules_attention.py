"""Multi-head attention with parameters as plain dicts under torch's names; see _module.py."""

import dataclasses

import jax.numpy as jnp

from bpx.spec import require
from bpx_jax import random
from bpx_jax._module import Module, first, layer, nested, profiled_layer, within
from bpx_jax.layers import attention as _attention
from bpx_jax.layers import linear as _linear


@profiled_layer("attention", skip=("heads_axis", "mask_keeps"))
@layer
class MultiheadAttention(Module):
    """x (B T E) to (B T E): in_proj_weight (3E E) holds the rows of query, key and value,
    out_proj.weight is (E E). The blockwise rule: no T by S array is kept."""

    embed_dim: int
    num_heads: int
    dropout: float = 0.0
    bias: bool = True
    profile: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        require(
            self.num_heads > 0 and self.embed_dim % self.num_heads == 0,
            f"attention: embed_dim is {self.embed_dim}, expected a multiple of "
            f"num_heads={self.num_heads}",
        )

    def shapes(self):
        e = self.embed_dim
        weights = {"in_proj_weight": (3 * e, e), "out_proj.weight": (e, e)}
        return weights | ({"in_proj_bias": (3 * e,), "out_proj.bias": (e,)} if self.bias else {})

    def initializer(self, name):
        own = {
            "in_proj_weight": ("xavier_uniform", {}),
            "out_proj.weight": within(self.embed_dim),
        }
        return first("attention", self.profile, name, own.get(name, ("zeros", {})))

    def init(self, key, dtype=None):
        return nested(super().init(key, dtype))

    def step(self, params, x, state, key, training):
        return self.apply(params, x, key=key, training=training), state

    def apply(self, params, x, context=None, mask=None, *, causal=False, key=None, training=False):
        """y (B T E). Keys and values are of context (B S E), x itself without one. mask: booleans
        that broadcast to (B H T S), True takes part (torch's module means the opposite). A query
        that sees nothing gives out_proj.bias. Dropout draws from key."""
        p = self.dropout if training else 0.0
        require(key is not None or not p, "attention: key is None, expected a key in training")
        bias = params.get("in_proj_bias")
        weights = jnp.split(params["in_proj_weight"], 3)
        biases = (None,) * 3 if bias is None else jnp.split(bias, 3)
        sources = (x, x, x) if context is None else (x, context, context)
        q, k, v = (
            self._heads(_linear.linear(*arrays))
            for arrays in zip(sources, weights, biases, strict=True)
        )
        words = random.key_data(key) if p else None
        y = _attention.attention(q, k, v, None, mask, words, causal=causal, dropout_p=p)
        out = params["out_proj"]
        return _linear.linear(
            jnp.swapaxes(y, 1, 2).reshape(x.shape), out["weight"], out.get("bias")
        )

    def _heads(self, a):
        shape = (*a.shape[:2], self.num_heads, self.embed_dim // self.num_heads)
        return jnp.swapaxes(a.reshape(shape), 1, 2)
