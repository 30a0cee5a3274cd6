"""gradient_clip_norm for torch on the CPU: one pass for the norm where no square can be lost, and
float64 elsewhere. Maths, shapes and source: bpx/surrogate/gradient.py."""

import torch

from bpx_torch.kernels import _opaque

LOW, HIGH = 1e-14, 1e18  # of a norm in float32, whose squares are then far from both ends


def refuses(arrays, dims):
    (x,) = arrays
    if (reason := _opaque.refuses(arrays)) is not None:
        return reason
    if not x.is_cpu or x.dtype != torch.float32:
        return f"it takes float32 on the CPU, not {x.dtype} on {x.device}"
    return None


def forward(x, **options):
    return x.view_as(x), ()


def backward(dy, arrays, residuals, needs, *, max_norm, dim):
    # dx = dy min(1, max_norm / |dy|)
    if dy.numel() == 0:
        return (dy,)
    norm = torch.linalg.vector_norm(dy, dim=dim, keepdim=True)
    least, most = torch.aminmax(norm)
    if LOW < least.item() and most.item() < HIGH:
        return (dy * (max_norm / norm).clamp_(max=1.0),)
    norm = torch.linalg.vector_norm(dy.double(), dim=dim, keepdim=True)
    factor = torch.where(norm > max_norm, max_norm / norm, 1.0)
    factor.masked_fill_(~norm.isfinite(), torch.nan)  # as the rule: no factor makes them finite
    return (dy * factor.float(),)
