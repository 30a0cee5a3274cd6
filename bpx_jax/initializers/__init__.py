"""Drop-in for jax.nn.initializers: the same names, signatures and defaults. `GAPS` has the rest.

A key gives the same weights in NumPy and torch. They are not jax.nn.initializers' weights for that
key, but of the same distribution. `identity`, `dirac` and `sparse` are in addition, and `axes_of`:
`glorot_normal(**axes_of("OIHW"))` is for a weight in torch's layout. INITIALIZERS are by entry
name: `init(key, shape, dtype, **options)`, with the specification's options.
"""

from bpx.initializers import axes_of
from bpx_jax._initializer import Initializer
from bpx_jax.initializers.constant import CONSTANT, ONES, ZEROS, constant, ones, zeros
from bpx_jax.initializers.delta_orthogonal import DELTA_ORTHOGONAL, delta_orthogonal
from bpx_jax.initializers.identity import DIRAC, IDENTITY, dirac, identity
from bpx_jax.initializers.normal import NORMAL, normal
from bpx_jax.initializers.orthogonal import ORTHOGONAL, orthogonal
from bpx_jax.initializers.sparse import SPARSE, sparse
from bpx_jax.initializers.truncated_normal import TRUNCATED_NORMAL, truncated_normal
from bpx_jax.initializers.uniform import UNIFORM, uniform
from bpx_jax.initializers.variance_scaling import (
    KAIMING_NORMAL,
    KAIMING_UNIFORM,
    LECUN_NORMAL,
    LECUN_UNIFORM,
    VARIANCE_SCALING,
    XAVIER_NORMAL,
    XAVIER_UNIFORM,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
)

glorot_normal = xavier_normal
glorot_uniform = xavier_uniform
he_normal = kaiming_normal
he_uniform = kaiming_uniform

__all__ = [
    "INITIALIZERS",
    "axes_of",
    "constant",
    "delta_orthogonal",
    "dirac",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "sparse",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

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

GAPS: dict[str, str] = {
    "Initializer": "a type for annotations, import it from jax.nn.initializers",
}
