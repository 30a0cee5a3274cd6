"""group_norm for JAX. Maths, shapes and source: bpx/layers/group_norm.py."""

from bpx.layers.group_norm import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32, inverse_root
from bpx_jax._rule import Rule
from bpx_jax.layers._standardize import channelwise, scaled, statistics, through


def grouped(x, num_groups):
    """x (B C *S) as (B, G, C / G, *S), and the axes of one group."""
    shape = (x.shape[0], num_groups, x.shape[1] // num_groups, *x.shape[2:])
    return x.reshape(shape), tuple(range(2, x.ndim + 1))


def beside(v, xg):
    """A statistic (B G) beside the groups."""
    return v.reshape(v.shape + (1,) * (xg.ndim - 2))


def forward(x, weight, bias, *, num_groups, eps):
    xg, axes = grouped(at_least_float32(x), num_groups)
    mean, var = statistics(xg, axes)
    rstd = inverse_root(var + eps)
    xhat = ((xg - mean) * rstd).reshape(x.shape)
    y = scaled(xhat, weight, bias).astype(x.dtype)
    return y, (mean.reshape(mean.shape[:2]), rstd.reshape(rstd.shape[:2]))


def backward(dy, arrays, residuals, needs, *, num_groups, eps):
    # With g = dy * weight and xhat = (x - mean) * rstd:
    #   dx = rstd * (g - mean(g) - xhat * mean(g * xhat))              over each group
    #   dweight = sum(dy * xhat),  dbias = sum(dy)                     over all but channels
    x, weight, _ = arrays
    mean, rstd = residuals
    dy = dy.astype(mean.dtype)
    xg, axes = grouped(x.astype(mean.dtype), num_groups)
    xhat = (xg - beside(mean, xg)) * beside(rstd, xg)
    rest = (0, *range(2, x.ndim))

    g, _ = grouped(dy if weight is None else dy * channelwise(weight, dy), num_groups)
    dx = through(g, xhat, beside(rstd, xg), axes).reshape(x.shape).astype(x.dtype)
    dweight = (dy * xhat.reshape(x.shape)).sum(rest) if needs[1] else None
    dbias = dy.sum(rest) if needs[2] else None
    return dx, dweight, dbias


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.group_norm"),
        Kernel("plain", forward, backward),
    ),
)


def group_norm(x, weight=None, bias=None, *, num_groups=32, eps=1e-5):
    """Group normalisation of x (B C *S) over groups of channels; weight and bias (C). Maths:
    bpx/layers/group_norm.py."""
    return RULE(x, weight, bias, num_groups=num_groups, eps=eps)
