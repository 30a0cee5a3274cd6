"""gated_linear for torch on the CPU: the unit by the native core, forward and again in backward.
Maths, shapes and source: bpx/fused/gated_linear.py."""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable

# The core's name of each unit.
UNITS = {
    "sigmoid": "glu",
    "silu": "swiglu",
    "gelu": "geglu_none",
    "gelu_tanh": "geglu_tanh",
    "relu": "reglu",
}


def refuses(arrays, dims):
    return _call.refuses(arrays[:2])


def run(activation, way, given, made):
    """What `way` of the unit makes of the arrays given; None for what is not wanted."""
    first = given[0]
    arrays = [readable(a, first.dtype) for a in given]
    made = [torch.empty_like(arrays[0]) if wanted else None for wanted in made]
    name, sizes = f"{UNITS[activation]}_{way}", (first.numel(),) * (1 if way == "again" else 3)
    _call.run(name, first.dtype, (*arrays, *made), sizes, (0.0, 0.0))
    return made


def forward(x, gate, weight, bias, *, activation):
    (h,) = run(activation, "forward", (x, gate), (True,))
    return torch.nn.functional.linear(h, weight, bias), ()


def backward(dy, arrays, residuals, needs, *, activation):
    # With h = x f(gate), computed again:
    #   dweight = dy^T h,  dbias = sum(dy), both over the rows
    #   dh = dy weight,  dx = dh f(gate),  dgate = dh x f'(gate)
    x, gate, weight, _ = arrays
    dx = dgate = dweight = dbias = h = None
    rows = dy.reshape(-1, dy.shape[-1])
    if needs[0] or needs[1]:
        dh = (dy @ weight).to(x.dtype)
        if all(needs[:3]):
            h, dx, dgate = run(activation, "again", (dh, x, gate), needs[:3])
        else:
            dx, dgate = run(activation, "backward", (dh, x, gate), needs[:2])
    if needs[2]:
        if h is None:
            (h,) = run(activation, "forward", (x, gate), (True,))
        dweight = torch.mm(rows.T, h.reshape(-1, h.shape[-1]))
    if needs[3]:
        dbias = rows.sum(0, dtype=_call.arithmetic(rows.dtype))
    return dx, dgate, dweight, dbias
