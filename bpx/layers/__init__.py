"""Layers. ALL lists their entries."""

from bpx.layers import affine, layer_norm, linear, log_softmax, prelu, softmax
from bpx.spec import Op

ALL: tuple[Op, ...] = (
    affine.SPEC,
    layer_norm.SPEC,
    linear.SPEC,
    log_softmax.SPEC,
    prelu.SPEC,
    softmax.SPEC,
)
