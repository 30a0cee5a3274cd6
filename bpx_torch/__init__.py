"""bpx for PyTorch: a rule for every entry of the specification, by entry name.

`functional`, `nn`, `optim` and `init` offer them under torch's names. Maths, shapes and sources are
in `bpx`. `convert(model)` puts a model's torch.nn modules on the rules, `revert(model)` undoes it.
`interchange` carries weights and optimizer states to JAX and back. `fixed_point` differentiates the
solution of z = f(z) of any f. `lsuv_` and `mup_` start a module by a batch, and by its width.
`health` looks at a model while it trains.
"""

from bpx_torch import (
    activations,
    functional,
    fused,
    health,
    init,
    interchange,
    layers,
    losses,
    nn,
    optim,
    surrogate,
)
from bpx_torch._convert import convert, revert
from bpx_torch._fixed_point import fixed_point
from bpx_torch._lsuv import lsuv_
from bpx_torch._mup import mup_
from bpx_torch._rule import Rule
from bpx_torch.initializers import INITIALIZERS
from bpx_torch.optimizers import OPTIMIZERS
from bpx_torch.schedules import SCHEDULES
from bpx_torch.transforms import TRANSFORMS

RULES: dict[str, Rule] = {
    **activations.RULES,
    **layers.RULES,
    **losses.RULES,
    **fused.RULES,
    **surrogate.RULES,
}

__all__ = [
    "INITIALIZERS",
    "OPTIMIZERS",
    "RULES",
    "SCHEDULES",
    "TRANSFORMS",
    "convert",
    "fixed_point",
    "functional",
    "health",
    "init",
    "interchange",
    "lsuv_",
    "mup_",
    "nn",
    "optim",
    "revert",
    "surrogate",
]
