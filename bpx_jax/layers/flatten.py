"""flatten for JAX. Maths, shapes and source: bpx/layers/flatten.py."""

from bpx.layers.flatten import SPEC, flattened
from bpx.rule import Kernel
from bpx_jax._rule import Rule


def forward(x, *, start_dim, end_dim):
    return x.reshape(flattened(x.shape, start_dim, end_dim)), ()


def backward(dy, arrays, residuals, needs, *, start_dim, end_dim):
    # dx = dy, each element where it came from
    (x,) = arrays
    return (dy.reshape(x.shape),)


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def flatten(x, *, start_dim=0, end_dim=-1):
    """x (*N) with the axes from start_dim to end_dim as one. Maths: bpx/layers/flatten.py."""
    return RULE(x, start_dim=start_dim, end_dim=end_dim)
