"""Identity layers that change the gradient, for PyTorch. Maths and source:
bpx/surrogate/gradient.py."""

import torch

from bpx.rule import Kernel
from bpx.surrogate import gradient as spec
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def forward(x, **options):
    return x.view_as(
        x
    ), ()  # no copy; for a view torch wants a tangent that is one, so none is given


def reversal_backward(dy, arrays, residuals, needs, *, factor):
    return ((-factor * at_least_float32(dy)).to(dy.dtype),)


def scale_backward(dy, arrays, residuals, needs, *, factor):
    return ((factor * at_least_float32(dy)).to(dy.dtype),)


def clip_value_backward(dy, arrays, residuals, needs, *, clip_value):
    return (dy.clamp(-clip_value, clip_value),)


def clip_norm_backward(dy, arrays, residuals, needs, *, max_norm, dim):
    # dx = dy min(1, max_norm / |dy|), the largest element divided out before squaring
    if dy.numel() == 0:
        return (dy,)
    wide = at_least_float32(dy)
    axes = tuple(range(dy.ndim)) if dim is None else dim
    largest = wide.abs().amax(axes, keepdim=True)
    unit = wide / torch.where(largest == 0, 1.0, largest)
    norm = largest * torch.sqrt(_sum(unit * unit, axes))
    factor = torch.where(norm > max_norm, max_norm / norm, torch.where(norm.isnan(), norm, 1.0))
    return ((wide * factor).to(dy.dtype),)


def _sum(x, axes):
    return x.sum(axes, keepdim=True) if axes != () else x


GRADIENT_REVERSAL = Rule(spec.gradient_reversal, (Kernel("plain", forward, reversal_backward),))
GRADIENT_SCALE = Rule(spec.gradient_scale, (Kernel("plain", forward, scale_backward),))
GRADIENT_CLIP_VALUE = Rule(
    spec.gradient_clip_value, (Kernel("plain", forward, clip_value_backward),)
)
GRADIENT_CLIP_NORM = Rule(
    spec.gradient_clip_norm,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.gradient_clip_norm"),
        Kernel("plain", forward, clip_norm_backward),
    ),
)


def gradient_reversal(x, *, factor=1.0):
    """x (any shape) as it is; dx = -factor dy."""
    return GRADIENT_REVERSAL(x, factor=factor)


def gradient_scale(x, *, factor=1.0):
    """x (any shape) as it is; dx = factor dy."""
    return GRADIENT_SCALE(x, factor=factor)


def gradient_clip_value(x, *, clip_value=1.0):
    """x (any shape) as it is; dx = dy clipped to [-clip_value, clip_value], NaN stays NaN."""
    return GRADIENT_CLIP_VALUE(x, clip_value=clip_value)


def gradient_clip_norm(x, *, max_norm=1.0, dim=None):
    """x (any shape) as it is; dx = dy min(1, max_norm / |dy|), the norm over the whole tensor, or
    over the axes in `dim` (an int or a tuple) for each slice along them."""
    return GRADIENT_CLIP_NORM(x, max_norm=max_norm, dim=dim)


RULES = {
    rule.spec.name: rule
    for rule in (GRADIENT_REVERSAL, GRADIENT_SCALE, GRADIENT_CLIP_VALUE, GRADIENT_CLIP_NORM)
}
