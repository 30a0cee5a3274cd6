"""torch.optim.LBFGS's state, which is one for all parameters, by their names: see
bpx/convert/_memory.py. The vectors are split into arrays of the parameters' shapes."""

import numpy as np
import torch

from bpx.convert import _memory
from bpx.spec import require


def read(optimizer, named, as_array):
    """(slots, steps) of an optimizer over `named` (name -> tensor, in its order)."""
    state = optimizer.state.get(next(iter(named.values()), None)) or {}
    if state.get("d") is None:
        return {}, {}
    kinds = {str(p.dtype) for p in named.values()}
    require(
        kinds <= {"torch.float32", "torch.float64"} and len(kinds) == 1,
        f"convert: LBFGS: parameters are {sorted(kinds)}, expected all float32 or all float64",
    )
    last = state["d"] * state["t"]
    vectors = {"prev_flat_grad": state["prev_flat_grad"]}
    for key in _memory.PAIRS:
        vectors |= {f"{key}.{i}": v for i, v in enumerate(state[key])}
    slots = {
        key: {n: as_array(f"{key} of {n}", a) for n, a in _split(vector, named).items()}
        for key, vector in vectors.items()
    }
    before = {n: named[n].detach() - a for n, a in _split(last, named).items()}
    slots["prev_params"] = {n: as_array(f"prev_params of {n}", a) for n, a in before.items()}
    return slots, dict.fromkeys(named, int(state["n_iter"]))


def state_of(new, named, as_tensor):
    """torch's state of an OptimizerState, for parameters that hold its weights already."""
    count, lr = max(new.steps.values(), default=0), new.options()["lr"]
    if not new.slots:
        return {}
    require(lr != 0, "convert: LBFGS: lr is 0, expected another (the last step is kept over it)")

    def joined(key):
        return torch.cat([as_tensor(new.slots[key][n]).reshape(-1) for n in named])

    pairs = _memory.length(new.slots, 1 + count)
    steps, changes = ([joined(f"{k}.{i}") for i in range(pairs)] for k in _memory.PAIRS)
    now = torch.cat([p.detach().reshape(-1) for p in named.values()])
    found = {
        "func_evals": count,
        "n_iter": count,
        "d": (now - joined("prev_params")) / lr,
        "t": lr,
        "old_dirs": changes,
        "old_stps": steps,
        "ro": [1 / y.dot(s) for y, s in zip(changes, steps, strict=True)],
        "H_diag": 1,
        "prev_flat_grad": joined("prev_flat_grad"),
        "prev_loss": np.nan,
    }
    if pairs:
        found["H_diag"] = changes[-1].dot(steps[-1]) / changes[-1].dot(changes[-1])
    return found


def _split(vector, named):
    parts = vector.split([p.numel() for p in named.values()])
    return {n: a.view_as(p) for (n, p), a in zip(named.items(), parts, strict=True)}
