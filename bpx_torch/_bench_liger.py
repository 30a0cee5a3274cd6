"""Liger-Kernel's operations for `python -m bpx bench --size huge`, where it is installed.

Each works on arrays of its own, since several write their gradients over their arguments. Its
geglu is left out, which is of the tanh form alone.
"""

import importlib.util

import torch

ROW = 4096  # columns that elements are laid out in: its gated units keep a row in one program


def _own(a):
    return None if a is None else a.detach().clone().requires_grad_(a.requires_grad)


def _rope(ops, x, cos, sin, dy):
    """Half of the heads as queries, half as keys, features of all heads side by side in memory, and
    tables as wide as a head: what it is made for."""

    def halves(a):
        parts = a.detach().chunk(2, 1)
        return [p.transpose(1, 2).contiguous().transpose(1, 2) for p in parts]

    q, k = (a.requires_grad_() for a in halves(x))
    tables = [torch.cat((a, a), -1)[None] for a in (cos, sin)]
    return lambda: ops.LigerRopeFunction.apply(q, k, *tables), [q, k], halves(dy)


CALLS = {
    "softmax": lambda ops, x: ops.LigerSoftmaxFunction.apply(x),
    "layer_norm": lambda ops, x, weight, bias: ops.LigerLayerNormFunction.apply(
        x, weight, bias, 1e-5
    ),
    "rms_norm": lambda ops, x, weight: ops.LigerRMSNormFunction.apply(x, weight, 1e-5),
    "swiglu": lambda ops, x, gate: ops.LigerSiLUMulFunction.apply(gate, x),
    "cross_entropy": lambda ops, x, target, _: ops.LigerCrossEntropyFunction.apply(
        x, target, None
    )[0],
    "linear_cross_entropy": lambda ops, x, weight, target, *_: (
        ops.LigerFusedLinearCrossEntropyFunction.apply(x, weight, target)[0]
    ),
}  # fmt: skip


def candidate(name, arrays, dy):
    """(forward, what it is differentiated by, dy), None where Liger-Kernel is not installed or has
    no such operation."""
    if name not in (*CALLS, "rope") or importlib.util.find_spec("liger_kernel") is None:
        return None
    ops = importlib.import_module("liger_kernel.ops")
    if name == "rope":
        return _rope(ops, *arrays, dy)
    *own, dy = map(_own, (*arrays, dy))
    if name == "swiglu":
        *own, dy = (_own(a.view(-1, min(ROW, len(a)))) for a in (*own, dy))
    wrt = [a for a in own if a is not None and a.requires_grad]
    return lambda: CALLS[name](ops, *own), wrt, dy
