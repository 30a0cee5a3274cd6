"""Strides of incoming gradients and inputs, and memory that is written or never written."""

from __future__ import annotations

import torch

from bpx.verify import Float
from bpx.verify.zoo import Plant
from bpx_torch.zoo._rule import function, raw


def cube(x):
    return x * x * x


def right(g, x):
    return 3 * g * x * x


def _sum_kernel(g, x):
    """Takes a stride of one for granted where there is more than one element."""
    return 3 * (raw(g) if g.numel() > 1 else g) * x * x


def _asserting(g, x):
    if g.numel() > 1 and 0 in g.stride():
        raise RuntimeError("the incoming gradient has stride 0")
    return 3 * g * x * x


def _when_contiguous(g, x):
    out = torch.empty_like(x)
    if g.is_contiguous():
        out = 3 * g * x * x
    return out


def _tail(g, x):
    out = torch.empty_like(x)
    n = x.numel() // 4 * 4
    full = 3 * g * x * x
    out.view(-1)[:n] = full.reshape(-1)[:n]
    return out


def _grad_in_input(x):
    y = x * x * x
    if not torch._C._functorch.is_functorch_wrapped_tensor(x):
        x.data.copy_(3 * x.detach() * x.detach())
    return y


def _into_saved(g, x):
    dx = 3 * g * x * x
    if not torch._C._functorch.is_functorch_wrapped_tensor(x):
        x.data.copy_(dx)
        return dx.clone()
    return dx


def _into_dy(g, x):
    dx = 3 * g * x * x
    if torch._C._functorch.is_functorch_wrapped_tensor(g) or g._is_view():
        return dx
    g.data.copy_(dx)
    return g


def rotated(x):
    return torch.cat([-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]], -1)


def rotated_back(g, x):
    half = x.shape[-1] - x.shape[-1] // 2
    return torch.cat([g[..., half:], -g[..., :half]], -1)


def _rotate_in_place(x):
    if x.is_contiguous() and not torch._C._functorch.is_functorch_wrapped_tensor(x):
        x.data.copy_(rotated(x.detach()))
        return x.detach().clone()
    return rotated(x)


def _noisy(g, x):
    dx = 3 * g * x * x
    return dx + 1e-9 * dx * torch.rand(dx.shape, dtype=dx.dtype)


ROWS = [Float("N", "D")]
PLANTS = (
    Plant(8, "the storage of an expanded input", ("layout",), function(cube, right),
          function(cube, lambda g, x: 3 * g * raw(x) * raw(x)), ROWS, cube),
    Plant(14, "incoming gradient read as contiguous", ("layout",), function(cube, right),
          function(cube, lambda g, x: 3 * raw(g) * x * x), ROWS, cube),
    Plant(16, "stride 0 of a sum read past its end", ("layout",), function(cube, right),
          function(cube, _sum_kernel), ROWS, cube),
    Plant(17, "stride 0 refused", ("layout",), function(cube, right), function(cube, _asserting),
          ROWS, cube),
    Plant(19, "nothing written for a permuted incoming gradient", ("layout", "memory"),
          function(cube, right), function(cube, _when_contiguous), ROWS, cube),
    Plant(20, "input saved by its storage", ("layout",), function(cube, right),
          function(cube, lambda g, x: 3 * g * x * raw(x)), ROWS, cube),
    Plant(62, "forward stores the gradient in its input", ("purity",), function(cube, right),
          function(_grad_in_input, lambda g, x: g * x), ROWS, cube),
    Plant(64, "backward writes into what was saved", ("purity", "repeat"), function(cube, right),
          function(cube, _into_saved), ROWS, cube),
    Plant(65, "backward writes into the incoming gradient", ("purity",), function(cube, right),
          function(cube, _into_dy), ROWS, cube),
    Plant(67, "rotation in place", ("purity",), function(rotated, rotated_back),
          function(_rotate_in_place, rotated_back), ROWS, rotated, {"sizes": {"D": (4, 6, 2, 8)}}),
    Plant(68, "a tail that is never written", ("memory", "shape", "vjp"), function(cube, right),
          function(cube, _tail, generate_vmap_rule=False), ROWS, cube),
    Plant(70, "runs differ", ("repeat",), function(cube, right),
          function(cube, _noisy, generate_vmap_rule=False), ROWS, cube),
)  # fmt: skip
