"""The initializers: deterministic transforms of given noise, and `sample` to draw from a key."""

from bpx.initializers._fans import calculate_gain, fans
from bpx.initializers._layout import axes_of
from bpx.initializers._lsuv import lsuv
from bpx.initializers._mup import Scale, mup_scale, without_multiplier
from bpx.initializers._sample import sample
from bpx.initializers.constant import CONSTANT, ONES, ZEROS
from bpx.initializers.delta_orthogonal import SPEC as _delta_orthogonal
from bpx.initializers.identity import DIRAC, IDENTITY
from bpx.initializers.normal import SPEC as _normal
from bpx.initializers.orthogonal import SPEC as _orthogonal
from bpx.initializers.sparse import SPEC as _sparse
from bpx.initializers.truncated_normal import SPEC as _truncated_normal
from bpx.initializers.uniform import SPEC as _uniform
from bpx.initializers.variance_scaling import (
    KAIMING_NORMAL,
    KAIMING_UNIFORM,
    LECUN_NORMAL,
    LECUN_UNIFORM,
    VARIANCE_SCALING,
    XAVIER_NORMAL,
    XAVIER_UNIFORM,
)
from bpx.spec import Initializer

__all__ = [
    "ALL",
    "Scale",
    "axes_of",
    "calculate_gain",
    "fans",
    "lsuv",
    "mup_scale",
    "sample",
    "without_multiplier",
]

ALL: tuple[Initializer, ...] = (
    ZEROS,
    ONES,
    CONSTANT,
    _uniform,
    _normal,
    _truncated_normal,
    VARIANCE_SCALING,
    XAVIER_UNIFORM,
    XAVIER_NORMAL,
    KAIMING_UNIFORM,
    KAIMING_NORMAL,
    LECUN_UNIFORM,
    LECUN_NORMAL,
    _orthogonal,
    _delta_orthogonal,
    IDENTITY,
    DIRAC,
    _sparse,
)
