"""torch.nn.functional's dropouts over the rule of bpx, re-exported by bpx_torch.functional.

torch's generator of the input's device draws one key for a call, from which all else follows:
torch.manual_seed gives the same masks again, though not the masks of torch's own dropout. What is
kept for backward is one bit for an element, or for a channel. `inplace=True` gives the same value
and leaves the input as it is. Stated differences from torch: a dropped infinity or NaN gives 0
(torch: NaN); dropout2d and dropout3d refuse the numbers of dims that torch has deprecated.
"""

import warnings

import torch

from bpx.profiles import profiled
from bpx.spec import SpecError, number
from bpx_torch.layers import dropout as _dropout


@profiled("dropout")
def dropout(input, p=0.5, training=True, inplace=False):
    return _drop("dropout", input, p, training, ())


@profiled("dropout")
def dropout1d(input, p=0.5, training=True, inplace=False):
    return _channels("dropout1d", input, p, training, (2, 3))


@profiled("dropout")
def dropout2d(input, p=0.5, training=True, inplace=False):
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: input has 3 dims, which torch takes for (N, C, L) and not for (C, H, W); "
            "use dropout1d",
            stacklevel=2,
        )
        return _drop("dropout2d", input, p, training, (2,))
    return _channels("dropout2d", input, p, training, (4,))


@profiled("dropout")
def dropout3d(input, p=0.5, training=True, inplace=False):
    return _channels("dropout3d", input, p, training, (4, 5))


def _channels(name, input, p, training, known):
    """One decision for a channel, which is dim 1 of the largest known number of dims."""
    if input.ndim not in known:
        expected = " or ".join(map(str, known))
        raise SpecError(f"{name}: input has {input.ndim} dims, expected {expected}")
    first = 2 if input.ndim == max(known) else 1
    return _drop(name, input, p, training, tuple(range(first, input.ndim)))


def _drop(name, input, p, training, broadcast_dims):
    if type(p) is not float:  # which writes its sentence of any number
        number(name, "p", p)
    if not 0 <= p <= 1:
        raise SpecError(f"{name}: p is {p}, expected 0 <= p <= 1")
    if not training or p == 0 or not input.numel():
        return input
    key = torch.randint(0, 2**32, (2,), device=input.device).to(torch.uint32)
    return _dropout.drawn(input, key, p=p, broadcast_dims=broadcast_dims)
