"""Delta-orthogonal for JAX. Maths and source: bpx/initializers/delta_orthogonal.py."""

from bpx.initializers.delta_orthogonal import SPEC
from bpx.spec import one_of
from bpx_jax._initializer import Initializer

DELTA_ORTHOGONAL = Initializer(SPEC)


def delta_orthogonal(scale=1.0, column_axis=-1, dtype=None):
    """An initializer: scale times an orthogonal matrix at the centre of a convolution weight
    (*field, in, out), 0 elsewhere. `column_axis` changes nothing: the shorter side is orthonormal
    whichever way the matrix is read."""
    one_of("delta_orthogonal", "column_axis", column_axis, (-2, -1, 0, 1))
    return DELTA_ORTHOGONAL.bound(dtype, gain=scale, in_axis=-2, out_axis=-1)
