"""The initializers for PyTorch, by entry name: `init(key, shape, dtype, **options)` -> a tensor."""

from bpx_torch._initializer import Initializer
from bpx_torch.initializers.constant import CONSTANT, ONES, ZEROS
from bpx_torch.initializers.delta_orthogonal import DELTA_ORTHOGONAL
from bpx_torch.initializers.identity import DIRAC, IDENTITY
from bpx_torch.initializers.normal import NORMAL
from bpx_torch.initializers.orthogonal import ORTHOGONAL
from bpx_torch.initializers.sparse import SPARSE
from bpx_torch.initializers.truncated_normal import TRUNCATED_NORMAL
from bpx_torch.initializers.uniform import UNIFORM
from bpx_torch.initializers.variance_scaling import (
    KAIMING_NORMAL,
    KAIMING_UNIFORM,
    LECUN_NORMAL,
    LECUN_UNIFORM,
    VARIANCE_SCALING,
    XAVIER_NORMAL,
    XAVIER_UNIFORM,
)

INITIALIZERS: dict[str, Initializer] = {
    "zeros": ZEROS,
    "ones": ONES,
    "constant": CONSTANT,
    "uniform": UNIFORM,
    "normal": NORMAL,
    "truncated_normal": TRUNCATED_NORMAL,
    "variance_scaling": VARIANCE_SCALING,
    "xavier_uniform": XAVIER_UNIFORM,
    "xavier_normal": XAVIER_NORMAL,
    "kaiming_uniform": KAIMING_UNIFORM,
    "kaiming_normal": KAIMING_NORMAL,
    "lecun_uniform": LECUN_UNIFORM,
    "lecun_normal": LECUN_NORMAL,
    "orthogonal": ORTHOGONAL,
    "delta_orthogonal": DELTA_ORTHOGONAL,
    "identity": IDENTITY,
    "dirac": DIRAC,
    "sparse": SPARSE,
}
