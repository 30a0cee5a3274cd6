"""Elementwise activations for JAX. RULES maps entry names to rules."""

from bpx_jax.activations import (
    exponential,
    gated,
    piecewise,
    scalar,
    shrinkage,
    smooth,
    sparse,
)

RULES = {
    **scalar.RULES,
    **smooth.RULES,
    **exponential.RULES,
    **piecewise.RULES,
    **gated.RULES,
    **shrinkage.RULES,
    **sparse.RULES,
}
