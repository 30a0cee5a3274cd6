"""Elementwise activations for PyTorch. RULES maps entry names to rules."""

from bpx_torch.activations import (
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
