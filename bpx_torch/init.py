"""Drop-in for torch.nn.init: the same names and signatures. `GAPS` says what is not here.

`delta_orthogonal_` is in addition. Those that read a fan take the weight's layout by keyword, as
layout="IOHW" for a transposed convolution; without it the fans are torch's, of (out, in, *field).

Random ones take a bpx key by keyword, `key=`; a key gives the same weights in NumPy and JAX.
Without it the key is drawn from `generator`, or from torch's default one, which torch.manual_seed
seeds: the numbers are then others than torch's for the same seed, of the same distribution.
"""

from bpx.initializers import calculate_gain
from bpx_torch.initializers.constant import constant_, ones_, zeros_
from bpx_torch.initializers.delta_orthogonal import delta_orthogonal_
from bpx_torch.initializers.identity import dirac_
from bpx_torch.initializers.identity import identity_ as eye_
from bpx_torch.initializers.normal import normal_
from bpx_torch.initializers.orthogonal import orthogonal_
from bpx_torch.initializers.sparse import sparse_
from bpx_torch.initializers.truncated_normal import truncated_normal_ as trunc_normal_
from bpx_torch.initializers.uniform import uniform_
from bpx_torch.initializers.variance_scaling import (
    kaiming_normal_,
    kaiming_uniform_,
    xavier_normal_,
    xavier_uniform_,
)

__all__ = [
    "calculate_gain",
    "constant_",
    "delta_orthogonal_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

GAPS: dict[str, str] = {
    "constant": "deprecated in torch, use constant_",
    "dirac": "deprecated in torch, use dirac_",
    "eye": "deprecated in torch, use eye_",
    "kaiming_normal": "deprecated in torch, use kaiming_normal_",
    "kaiming_uniform": "deprecated in torch, use kaiming_uniform_",
    "normal": "deprecated in torch, use normal_",
    "orthogonal": "deprecated in torch, use orthogonal_",
    "sparse": "deprecated in torch, use sparse_",
    "uniform": "deprecated in torch, use uniform_",
    "xavier_normal": "deprecated in torch, use xavier_normal_",
    "xavier_uniform": "deprecated in torch, use xavier_uniform_",
}
