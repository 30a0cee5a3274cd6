"""Ways in which torch hands over an array: strides, offsets, a pending sign, no memory at all.

Each way is a function (array, Generator) -> an array of the same shape, in some with other values.
"""

import torch


def as_it_is(a, rng):
    return a


def turned(a, rng):
    return a.transpose(0, -1).contiguous().transpose(0, -1)


def every_second(a, rng):
    return torch.stack([a, a.flip(-1)], -1)[..., 0]


def rows_of_more(a, rng):
    return torch.cat([a[:1], a, a[-1:]])[1:-1]


def backwards(a, rng):
    return a.flip(0).contiguous().flip(0)


def channels_last(a, rng):
    return a.movedim(1, -1).contiguous().movedim(-1, 1) if a.ndim > 2 else a


def second_axis_first(a, rng):
    return a.transpose(0, 1).contiguous().transpose(0, 1) if a.ndim > 1 else a


def part_of_wider(a, rng):
    """A part of the last axis of one array, as heads of a fused projection are."""
    return torch.cat([a.flip(-1), a, a.flip(-1)], -1).narrow(-1, a.shape[-1], a.shape[-1])


def expanded(a, rng):
    """One entry along an axis in every place, without memory for the others."""
    axis = int(rng.integers(a.ndim))
    return a.narrow(axis, 0, 1).expand(a.shape)


def no_memory(a, rng):
    """Zeros of which torch holds no element, as gradients that are known to be zero are."""
    return torch._efficientzerotensor(a.shape, dtype=a.dtype)


STRIDED = (
    as_it_is,
    as_it_is,
    turned,
    every_second,
    rows_of_more,
    backwards,
    channels_last,
    second_axis_first,
    part_of_wider,
)


def drawn(a, rng, values=True):
    """A way for arrays like a; not values: no way that changes them."""
    if not a.ndim:
        return as_it_is
    ways = STRIDED + ((expanded,) if values else ())
    way = ways[rng.integers(len(ways))]
    if not a.dtype.is_signed or (mark := rng.random()) > 0.2:
        return way
    if values and mark > 0.12:
        return no_memory
    return lambda a, rng: torch._neg_view(way(-a, rng))  # its sign pending


def packed(a):
    """The same numbers in memory of their own, in order."""
    if a is None:
        return None
    own = torch.zeros(a.shape, dtype=a.dtype) if a._is_zerotensor() else a.detach().resolve_neg()
    return own.clone(memory_format=torch.contiguous_format).requires_grad_(a.requires_grad)
