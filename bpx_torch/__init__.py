"""bpx for PyTorch: a rule for every entry of the specification, by entry name.

`functional`, `nn`, `optim` and `init` offer them under torch's names. Maths, shapes and sources are
in `bpx`.
"""

from bpx_torch import activations, functional, init, layers, losses, nn, optim
from bpx_torch._rule import Rule
from bpx_torch.initializers import INITIALIZERS
from bpx_torch.optimizers import OPTIMIZERS

RULES: dict[str, Rule] = {**activations.RULES, **layers.RULES, **losses.RULES}

__all__ = ["INITIALIZERS", "OPTIMIZERS", "RULES", "functional", "init", "nn", "optim"]
