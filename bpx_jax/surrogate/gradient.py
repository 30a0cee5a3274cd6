"""Identity layers that change the gradient, for JAX. Maths and source:
bpx/surrogate/gradient.py."""

import jax
import jax.numpy as jnp

from bpx.rule import Kernel
from bpx.surrogate import gradient as spec
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def forward(x, **options):
    return x, ()


def reversal_backward(dy, arrays, residuals, needs, *, factor):
    return ((-factor * at_least_float32(dy)).astype(dy.dtype),)


def scale_backward(dy, arrays, residuals, needs, *, factor):
    return ((factor * at_least_float32(dy)).astype(dy.dtype),)


def clip_value_backward(dy, arrays, residuals, needs, *, clip_value):
    return (jnp.clip(dy, -clip_value, clip_value),)


def clip_norm_backward(dy, arrays, residuals, needs, *, max_norm, dim):
    # dx = dy min(1, max_norm / |dy|)
    if dy.size == 0:
        return (dy,)
    wide = at_least_float32(dy)
    norm = _norm(wide, dim)
    factor = jnp.where(norm > max_norm, max_norm / norm, jnp.where(jnp.isnan(norm), norm, 1.0))
    return ((wide * factor).astype(dy.dtype),)


def _norm(wide, dim):
    """The norm along dim of values of any size: where the sum of squares could have lost some, the
    largest element is divided out before squaring."""
    held = jnp.finfo(wide.dtype)
    low, high = held.tiny / held.eps**3, held.max / 2

    def divided():
        largest = jnp.abs(wide).max(dim, keepdims=True)
        unit = wide / jnp.where(largest == 0, 1.0, largest)
        return largest * jnp.sqrt((unit * unit).sum(dim, keepdims=True))

    squares = (wide * wide).sum(dim, keepdims=True)
    fits = ((squares > low) & (squares < high)).all()
    return jax.lax.cond(fits, lambda: jnp.sqrt(squares), divided)


GRADIENT_REVERSAL = Rule(spec.gradient_reversal, (Kernel("plain", forward, reversal_backward),))
GRADIENT_SCALE = Rule(spec.gradient_scale, (Kernel("plain", forward, scale_backward),))
GRADIENT_CLIP_VALUE = Rule(
    spec.gradient_clip_value, (Kernel("plain", forward, clip_value_backward),)
)
GRADIENT_CLIP_NORM = Rule(spec.gradient_clip_norm, (Kernel("plain", forward, clip_norm_backward),))


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
