"""Layers for JAX. RULES maps entry names to rules."""

from bpx_jax.layers import affine, layer_norm, linear, log_softmax, prelu, softmax

RULES = {
    "affine": affine.RULE,
    "layer_norm": layer_norm.RULE,
    "linear": linear.RULE,
    "log_softmax": log_softmax.RULE,
    "prelu": prelu.RULE,
    "softmax": softmax.RULE,
}
