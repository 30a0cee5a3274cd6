"""Identity: the weight that passes its input on, for a matrix and for a convolution.

    identity   w[i, j] = 1 if i = j
    dirac      w[g n + d, d, centre] = 1      g < groups, d < min(n, in), n = out / groups

The rest is 0. The centre of a field of size k is k // 2, as in torch. A key is not used and may be
None. dirac's in_axis and out_axis, or its layout ("HWIO"), say where the channels are (torch's
layout by default).
Source: torch.nn.init.eye_ and dirac_; Zagoruyko, Komodakis 2017, "DiracNets", arXiv:1706.00388,
section 3.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.initializers._layout import axes, check_channels
from bpx.spec import Initializer, Options, Reject, require

Shape = tuple[int, ...]


def identity_from_noise(noise: Any, shape: Shape) -> Any:
    return np.eye(shape[0], shape[1])


def check_identity(shape: Shape, options: Options) -> None:
    require(len(shape) == 2, f"identity: shape is {shape}, expected 2 axes")


def dirac_from_noise(
    noise: Any, shape: Shape, *, groups: int, in_axis: int, out_axis: int, layout: str | None
) -> Any:
    w = np.zeros(shape)
    in_axis, out_axis, _ = axes({"in_axis": in_axis, "out_axis": out_axis, "layout": layout})
    channels_first: Any = np.moveaxis(w, (out_axis, in_axis), (0, 1))  # a view of w
    n_out, n_in, *field = channels_first.shape
    n = n_out // groups
    d = np.arange(min(n, n_in))
    for g in range(groups):
        channels_first[(g * n + d, d, *(k // 2 for k in field))] = 1.0
    return w


def check_dirac(shape: Shape, options: Options) -> None:
    require(len(shape) in (3, 4, 5), f"dirac: shape is {shape}, expected 3, 4 or 5 axes")
    require(0 not in shape, f"dirac: shape is {shape}, expected no axis of size 0")
    check_channels("dirac", shape, options)
    places = axes(options)[1::-1]
    groups, n_out = options["groups"], shape[places[0]]
    require(
        isinstance(groups, int) and groups > 0 and n_out % groups == 0,
        f"dirac: groups is {groups!r}, expected a divisor of the {n_out} output channels",
    )


IDENTITY = Initializer(
    name="identity",
    path="initializers/identity",
    doc=__doc__,
    options={},
    from_noise=identity_from_noise,
    check=check_identity,
    rejects=(Reject("identity: shape is (3, 4, 5), expected 2 axes", {"shape": (3, 4, 5)}),),
)
DIRAC = Initializer(
    name="dirac",
    path="initializers/identity",
    doc=__doc__,
    options={"groups": 1, "in_axis": 1, "out_axis": 0, "layout": None},
    from_noise=dirac_from_noise,
    check=check_dirac,
    trials=({}, {"groups": 3}, {"in_axis": -2, "out_axis": -1}, {"layout": "HWIO"}),
    rejects=(
        Reject("dirac: shape is (3, 4), expected 3, 4 or 5 axes", {"shape": (3, 4)}),
        Reject("dirac: shape is (3, 0, 5), expected no axis", {"shape": (3, 0, 5)}),
        Reject(
            "dirac: groups is 2, expected a divisor of the 3", {"shape": (3, 4, 5)}, {"groups": 2}
        ),
        Reject("are (0, 0), expected two axes", {"shape": (3, 4, 5)}, {"in_axis": 0}),
        Reject("layout is 'OI' of 2 axes, expected", {"shape": (3, 4, 5)}, {"layout": "OI"}),
        Reject("layout is 'NOI', expected none with N", {"shape": (3, 4, 5)}, {"layout": "NOI"}),
    ),
)
