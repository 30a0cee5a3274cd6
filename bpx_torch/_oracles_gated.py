"""torch's own gated units; merged in oracles.py."""

import torch
import torch.nn.functional as F


def _geglu(x, gate, *, approximate="none"):
    return x * F.gelu(gate, approximate=approximate)


ORACLES = {
    "glu": lambda x, gate: F.glu(torch.stack([x, gate]), 0)[0],
    "swiglu": lambda x, gate: x * F.silu(gate),
    "geglu": _geglu,
    "reglu": lambda x, gate: x * F.relu(gate),
}

_CANCELS = "value: 1 + erf and 1 + tanh lose their digits in the lower tail"

_ROUNDED = "1 - sigmoid loses its digits where the sigmoid rounds towards 1"

DIFFERS: dict[str, dict[str, str]] = {
    "glu": {"wide": _ROUNDED, "tails": _ROUNDED},
    "geglu": {case: _CANCELS for case in ("wide", "tails", "loud approximate")},
}
