"""Gradient clipping for PyTorch. Maths, options and source: bpx/transforms/clip.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bpx.spec import Options
from bpx.transforms.clip import ADAPTIVE, BY_GLOBAL_NORM, BY_NORM, BY_VALUE

Tensors = Tensor | Iterable[Tensor]


def _check(spec: Any, **given: Any) -> None:
    options: Options = {**spec.options, **given}
    if spec.check is not None:
        spec.check(options)


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: Tensors) -> list[Tensor]:
    return [p.grad for p in _listed(parameters) if p.grad is not None]


def _norms(tensors: list[Tensor], order: float, foreach: bool | None) -> list[Tensor]:
    """The norm of each tensor, in float64 where the device has it: its square does not overflow."""
    if not tensors:
        return []
    dtype = torch.float32 if tensors[0].device.type == "mps" else torch.float64
    # the largest of no elements is 0 here, where torch has no answer
    listed = [x if x.numel() else x.new_zeros(1) for x in tensors]
    many = foreach if foreach is not None else tensors[0].is_cuda
    if many:
        return list(torch._foreach_norm(listed, order, dtype=dtype))
    return [torch.linalg.vector_norm(x, order, dtype=dtype) for x in listed]


def _total(tensors: list[Tensor], order: float, foreach: bool | None) -> Tensor:
    by_device: dict[Any, list[Tensor]] = {}
    for x in tensors:
        by_device.setdefault(x.device, []).append(x)
    norms = [n for group in by_device.values() for n in _norms(group, order, foreach)]
    home = tensors[0].device
    return torch.linalg.vector_norm(torch.stack([n.to(home) for n in norms]), order)


def _stored(total: Tensor, tensors: list[Tensor]) -> Tensor:
    dtype = torch.float32
    for x in tensors:
        dtype = torch.promote_types(dtype, x.dtype)
    return total.to(dtype)


def _refuse_nonfinite(total: Tensor, order: float) -> None:
    if not torch.isfinite(total):
        raise RuntimeError(
            f"{BY_GLOBAL_NORM.name}: the norm of order {order} of the gradients is {total.item()}, "
            "expected a finite one (error_if_nonfinite is True)"
        )


@torch.no_grad()
def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Replaces torch.nn.utils.get_total_norm: the norm of all elements of all tensors, a scalar.

    Differs: the squares are summed in float64, so they do not overflow, and the result of 16-bit
    tensors is float32.

    Raises:
        SpecError: norm_type is not above 0.
        RuntimeError: the norm is not finite, with error_if_nonfinite.
    """
    _check(BY_GLOBAL_NORM, norm_type=float(norm_type))
    listed = _listed(tensors)
    if not listed:
        return torch.tensor(0.0)
    total = _total(listed, float(norm_type), foreach)
    if error_if_nonfinite:
        _refuse_nonfinite(total, norm_type)
    return _stored(total, listed)


@torch.no_grad()
def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Replaces torch.nn.utils.clip_grads_with_norm_: clips as if the norm were total_norm.

    Raises:
        SpecError: max_norm is below 0.
    """
    _check(BY_GLOBAL_NORM, max_norm=float(max_norm))
    share = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    _scale_(_gradients(parameters), share)


def _scale_(gradients: list[Tensor], share: Tensor) -> None:
    for g in gradients:
        g.mul_(share.to(device=g.device, dtype=torch.promote_types(g.dtype, torch.float32)))


@torch.no_grad()
def clip_by_global_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
    *,
    profile: str = "torch",
) -> Tensor:
    """Replaces torch.nn.utils.clip_grad_norm_; returns the norm before clipping.

    Args:
        profile: "torch", or "optax" for gradients that end at max_norm exactly.

    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> clip_by_global_norm_([w], 1.0, profile="optax")
    tensor(5.)
    >>> w.grad
    tensor([0.6000, 0.8000])

    Raises:
        SpecError: max_norm is below 0, norm_type is not above 0, or another profile.
        RuntimeError: the norm is not finite, with error_if_nonfinite. No gradient has changed.
    """
    order = float(norm_type)
    _check(BY_GLOBAL_NORM, max_norm=float(max_norm), norm_type=order, profile=profile)
    gradients = _gradients(parameters)
    if not gradients:
        return torch.tensor(0.0)
    total = _total(gradients, order, foreach)
    if error_if_nonfinite:
        _refuse_nonfinite(total, norm_type)
    if profile == "torch":
        share = (float(max_norm) / (total + 1e-6)).clamp(max=1.0)
    else:
        share = torch.where(total < max_norm, 1.0, float(max_norm) / total)
    _scale_(gradients, share)
    return _stored(total, gradients)


@torch.no_grad()
def clip_by_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Replaces torch.nn.utils.clip_grad_value_: each element to [-clip_value, clip_value].

    Raises:
        SpecError: clip_value is below 0 or not finite.
    """
    bound = float(clip_value)
    _check(BY_VALUE, max_value=bound)
    for g in _gradients(parameters):
        g.clamp_(min=-bound, max=bound)


@torch.no_grad()
def clip_by_norm_(
    parameters: Tensors, max_norm: float, norm_type: float = 2.0, *, mean: bool = False
) -> None:
    """Clip each gradient by its own norm, or (mean) by its root mean square.

    Raises:
        SpecError: max_norm or norm_type is not above 0.
    """
    order = float(norm_type)
    _check(BY_NORM, max_norm=float(max_norm), norm_type=order, mean=mean)
    gradients = _gradients(parameters)
    for g, norm in zip(gradients, _norms(gradients, order, None), strict=True):
        size = norm / max(g.numel(), 1) ** (1 / order) if mean else norm
        _scale_([g], torch.where(size <= max_norm, 1.0, float(max_norm) / size))


def _unit_norms(x: Tensor, layout: str) -> Tensor:
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    long = [n for n in x.shape if n != 1]
    if len(long) <= 1:
        axes = list(range(x.ndim))
    elif layout == "torch":
        axes = list(range(1, x.ndim))
    else:
        axes = [0] if x.ndim <= 3 else list(range(x.ndim - 1))
    return torch.linalg.vector_norm(x, dim=axes, keepdim=True) if axes else x.abs()


@torch.no_grad()
def adaptive_grad_clip_(
    parameters: Tensors, clipping: float = 0.01, eps: float = 1e-3, *, layout: str = "torch"
) -> None:
    """Adaptive gradient clipping: by the norm of the weights of each output unit (axis 0).

    Raises:
        SpecError: clipping or eps is not above 0, or another layout.
    """
    _check(ADAPTIVE, clipping=clipping, eps=eps, layout=layout)
    for p in _listed(parameters):
        if p.grad is None:
            continue
        norm = _unit_norms(p.grad, layout)
        largest = clipping * _unit_norms(p, layout).clamp(min=eps)
        p.grad.mul_(torch.where(norm < largest, 1.0, largest / norm.clamp(min=1e-6)))
