"""log_softmax for PyTorch. Maths, shapes and source: bpx/layers/log_softmax.py."""

import torch

from bpx.layers.log_softmax import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def forward(x, *, dim):
    y = torch.log_softmax(at_least_float32(x), dim).to(x.dtype)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, dim):
    # dx = dy - softmax(x) sum(dy): dy through x itself, the rest through log(sum(e^x))
    yf, dyf = at_least_float32(residuals[0]), at_least_float32(dy)
    return ((dyf - torch.exp(yf) * dyf.sum(dim, keepdim=True)).to(dy.dtype),)


def tangent(tangents, arrays, residuals, *, dim):
    # dy = dx - sum(softmax(x) dx)
    yf, tx = at_least_float32(residuals[0]), at_least_float32(tangents[0])
    return (tx - (torch.exp(yf) * tx).sum(dim, keepdim=True)).to(tangents[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.log_softmax"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.log_softmax"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast={"cuda": "float32"},
)


def log_softmax(x, *, dim=-1):
    """Logarithm of the softmax of x (*N) over `dim`. Maths: bpx/layers/log_softmax.py."""
    return RULE(x, dim=dim)
