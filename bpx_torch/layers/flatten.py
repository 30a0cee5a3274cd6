"""flatten for PyTorch. Maths, shapes and source: bpx/layers/flatten.py.

As torch.flatten the result is a view of x where it can be one; torch lets nobody write to a view
that a Function made.
"""

from bpx.layers.flatten import SPEC, flattened
from bpx.rule import Kernel
from bpx_torch._rule import Rule


def forward(x, *, start_dim, end_dim):
    return x.reshape(flattened(tuple(x.shape), start_dim, end_dim)), ()


def backward(dy, arrays, residuals, needs, *, start_dim, end_dim):
    # dx = dy, each element where it came from
    (x,) = arrays
    return (dy.reshape(x.shape),)


def tangent(tangents, arrays, residuals, **options):
    # y is linear in x
    return forward(tangents[0], **options)[0]


RULE = Rule(SPEC, (Kernel("plain", forward, backward, tangent),))


def flatten(x, *, start_dim=0, end_dim=-1):
    """x (*N) with the axes from start_dim to end_dim as one. Maths: bpx/layers/flatten.py."""
    return RULE(x, start_dim=start_dim, end_dim=end_dim)
