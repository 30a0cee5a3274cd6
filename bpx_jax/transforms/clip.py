"""Gradient clipping for JAX. Maths, options and source: bpx/transforms/clip.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bpx.transforms.clip import ADAPTIVE, BY_GLOBAL_NORM, BY_NORM, BY_VALUE
from bpx_jax._around import check, leafwise, need, norm
from bpx_jax._packed import WHOLE, refuse
from bpx_jax._transform import EmptyState, GradientTransformation, scalar


def _stateless(update: Callable[..., Any]) -> GradientTransformation:
    def run(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        return update(grads, params), state

    return GradientTransformation(lambda params: EmptyState(), run)


def clip_by_value(max_value: Any) -> GradientTransformation:
    """Each element to [-max_value, max_value].

    Raises:
        SpecError: max_value is below 0 or not finite.
    """
    check(BY_VALUE, max_value=max_value)

    def leaf(g: Any) -> Any:
        bound = scalar(max_value, g.dtype)
        return jnp.clip(g, -bound, bound)

    return _stateless(lambda grads, _: leafwise(BY_VALUE, leaf, grads))


def clip_by_norm(
    max_norm: Any, norm_type: float = 2.0, *, mean: bool = False
) -> GradientTransformation:
    """Each gradient by its own norm, or (mean) by its root mean square.

    Raises:
        SpecError: max_norm or norm_type is not above 0.
    """
    check(BY_NORM, max_norm=max_norm, norm_type=norm_type, mean=mean)

    def leaf(g: Any) -> Any:
        size = norm(g, norm_type).reshape(())
        if mean:
            size = size / max(g.size, 1) ** (1 / norm_type)
        bound = scalar(max_norm, g.dtype)
        return jnp.where(size <= bound, g, g * (bound / size))

    def update(grads: Any, _: Any) -> Any:
        refuse(BY_NORM.name, grads, WHOLE)
        return leafwise(BY_NORM, leaf, grads)

    return _stateless(update)


def clip_by_global_norm(
    max_norm: Any, *, norm_type: float = 2.0, profile: str = "optax"
) -> GradientTransformation:
    """As optax.clip_by_global_norm: all gradients together, to the norm max_norm.

    Args:
        max_norm: the largest norm.
        norm_type: the order of the norm, inf for the largest element.
        profile: "optax", or "torch" for its eps: the norm ends a little below max_norm.

    Differs: the norm of 16-bit gradients is taken in float32, and its squares do not overflow.

    Raises:
        SpecError: max_norm is below 0, norm_type is not above 0, or another profile.
    """
    check(BY_GLOBAL_NORM, max_norm=max_norm, norm_type=norm_type, profile=profile)

    def update(grads: Any, _: Any) -> Any:
        leaves = [jnp.asarray(g) for g in jax.tree.leaves(grads)]
        if not leaves:
            return grads
        double = any(g.dtype == jnp.float64 for g in leaves)
        dtype = jnp.float64 if double else jnp.float32
        norms = [norm(g.astype(dtype), norm_type).reshape(()) for g in leaves]
        total = norm(jnp.stack(norms), norm_type).reshape(())

        def leaf(g: Any) -> Any:
            size, bound = total.astype(g.dtype), scalar(max_norm, g.dtype)
            if profile == "torch":
                return g * jnp.minimum(bound / (size + 1e-6), 1.0)
            return jnp.where(size < bound, g, g / size * bound)

        return leafwise(BY_GLOBAL_NORM, leaf, grads)

    return _stateless(update)


def _axes(shape: tuple[int, ...], layout: str) -> Any:
    if len([n for n in shape if n != 1]) <= 1:
        return None
    if layout == "torch":
        return tuple(range(1, len(shape)))
    return (0,) if len(shape) <= 3 else tuple(range(len(shape) - 1))


def adaptive_grad_clip(
    clipping: Any, eps: Any = 0.001, axis: Any = None, *, layout: str = "optax"
) -> GradientTransformation:
    """As optax.adaptive_grad_clip: by the norm of the weights of each output unit.

    Args:
        clipping: the largest gradient, as a share of the weights.
        eps: the least norm that weights are taken to have.
        axis: the axes to take norms over; None goes by layout.
        layout: "optax" for units on the last axis, "torch" for the first.

    Raises:
        SpecError: clipping or eps is not above 0, another layout, or params is missing.
    """
    check(ADAPTIVE, clipping=clipping, eps=eps, layout=layout)

    def leaf(g: Any, p: Any) -> Any:
        axes = _axes(g.shape, layout) if axis is None else axis
        least, share = scalar(eps, g.dtype), scalar(clipping, g.dtype)
        size, largest = norm(g, 2.0, axes), share * jnp.maximum(norm(p, 2.0, axes), least)
        return jnp.where(size < largest, g, g * (largest / jnp.maximum(size, 1e-6)))

    def update(grads: Any, params: Any) -> Any:
        need(ADAPTIVE, params)
        refuse(ADAPTIVE.name, grads, WHOLE)
        return leafwise(ADAPTIVE, leaf, grads, params)

    return _stateless(update)
