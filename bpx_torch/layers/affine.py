"""affine for PyTorch. Maths, shapes and source: bpx/layers/affine.py."""

from bpx.layers.affine import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def forward(x, weight, bias):
    xf = at_least_float32(x)
    y = weight.to(xf.dtype) * xf + bias.to(xf.dtype)
    return y.to(x.dtype), ()


def backward(dy, arrays, residuals, needs):
    # dx = weight dy,  dweight = sum(x dy),  dbias = sum(dy)
    x, weight, _ = arrays
    dyf = at_least_float32(dy)
    dx = (dyf * weight.to(dyf.dtype)).to(x.dtype) if needs[0] else None
    dweight = (dyf * x.to(dyf.dtype)).sum() if needs[1] else None
    dbias = dyf.sum() if needs[2] else None
    return dx, dweight, dbias


def tangent(tangents, arrays, residuals):
    # dy = weight dx + x dweight + dbias
    x, weight, _ = arrays
    tx, tweight, tbias = tangents
    xf = at_least_float32(x)
    dy = xf.new_zeros(x.shape)
    if tx is not None:
        dy = dy + weight.to(xf.dtype) * tx.to(xf.dtype)
    if tweight is not None:
        dy = dy + xf * tweight.to(xf.dtype)
    if tbias is not None:
        dy = dy + tbias.to(xf.dtype)
    return dy.to(x.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.affine"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def affine(x, weight, bias):
    """weight * x + bias; x (*N), weight and bias scalars. Maths: bpx/layers/affine.py."""
    return RULE(x, weight, bias)
