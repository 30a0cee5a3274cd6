"""Compositions that have a rule of their own. ALL lists their entries; they may use the others."""

from bpx.fused import gated_linear, linear_cross_entropy
from bpx.spec import Op

ALL: tuple[Op, ...] = (linear_cross_entropy.SPEC, gated_linear.SPEC)
