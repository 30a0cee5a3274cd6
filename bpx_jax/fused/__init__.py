"""Compositions with a rule of their own, for JAX. RULES maps entry names to rules."""

from bpx_jax.fused import gated_linear, linear_cross_entropy

RULES = {
    "linear_cross_entropy": linear_cross_entropy.RULE,
    "gated_linear": gated_linear.RULE,
}
