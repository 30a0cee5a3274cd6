"""Elementwise activations for PyTorch. RULES maps entry names to rules."""

from bpx_torch.activations import exponential, piecewise, scalar, smooth

RULES = {**scalar.RULES, **smooth.RULES, **exponential.RULES, **piecewise.RULES}
