"""Rules whose backward differs from the derivative on purpose. ALL lists their entries."""

from bpx.spec import Op
from bpx.surrogate import (
    conv_feedback_alignment,
    conv_sign_symmetric,
    direct_feedback_alignment,
    gradient,
    linear_feedback_alignment,
    linear_sign_symmetric,
    spike,
    straight_through,
)

ALL: tuple[Op, ...] = (
    *straight_through.ALL,
    *spike.ALL,
    *gradient.ALL,
    linear_feedback_alignment.SPEC,
    linear_sign_symmetric.SPEC,
    conv_feedback_alignment.SPEC,
    conv_sign_symmetric.SPEC,
    direct_feedback_alignment.SPEC,
)
