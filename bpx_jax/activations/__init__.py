"""Elementwise activations for JAX. RULES maps entry names to rules."""

from bpx_jax.activations import exponential, piecewise, scalar, smooth

RULES = {**scalar.RULES, **smooth.RULES, **exponential.RULES, **piecewise.RULES}
