"""bpx: hand-written gradients, specified once in NumPy, proven in PyTorch and in JAX.

This package is the specification. `ALL` are the layers, activations, losses, their fusions and the
surrogates, `OPTIMIZERS`, `SCHEDULES` and `INITIALIZERS` what their names say, `TRANSFORMS` what
stands around an optimizer; `bpx_torch` and `bpx_jax` have a rule for each. It needs NumPy alone.
"""

from bpx.activations import ALL as _activations
from bpx.fused import ALL as _fused
from bpx.initializers import ALL as INITIALIZERS
from bpx.layers import ALL as _layers
from bpx.losses import ALL as _losses
from bpx.optimizers import ALL as OPTIMIZERS
from bpx.rule import use
from bpx.schedules import ALL as SCHEDULES
from bpx.spec import Op, SpecError
from bpx.surrogate import ALL as _surrogate
from bpx.transforms import ALL as TRANSFORMS

__version__ = "0.1.0"

ALL: tuple[Op, ...] = (*_activations, *_layers, *_losses, *_fused, *_surrogate)

__all__ = [
    "ALL",
    "INITIALIZERS",
    "OPTIMIZERS",
    "SCHEDULES",
    "TRANSFORMS",
    "SpecError",
    "__version__",
    "use",
]
