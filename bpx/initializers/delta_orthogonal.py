r"""Delta-orthogonal: a convolution that turns its input and leaves its length as it is.

    z      standard normal, out x in
    q r    = z                       q with orthonormal columns
    q      <- q sign(diag r)         makes it uniform over such matrices
    w      = gain q                  at the centre of the field
           = 0                       elsewhere

The centre of a field of size k is (k - 1) // 2, as in JAX (dirac's, as in torch, is k // 2: another
one where k is even). Channels may grow, not shrink: in <= out, or no such w keeps every length.
in_axis and out_axis, or a layout ("HWIO"), say where the channels are; 1, 2 or 3 other axes are the
field.
Source: Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington 2018, "Dynamical isometry and a mean
field theory of CNNs", arXiv:1806.05393, section 2.4 and algorithm 2; the sign is Mezzadri 2007,
arXiv:math-ph/0609050, section 5.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpx.initializers._layout import axes, check_channels
from bpx.initializers._limits import finite
from bpx.spec import Initializer, Options, Reject, require

Shape = tuple[int, ...]


def from_noise(
    noise: Any, shape: Shape, *, gain: float, in_axis: int, out_axis: int, layout: str | None
) -> Any:
    in_axis, out_axis, _ = axes({"in_axis": in_axis, "out_axis": out_axis, "layout": layout})
    w = np.zeros(shape)
    channels_last: Any = np.moveaxis(w, (out_axis, in_axis), (-2, -1))  # a view of w
    *field, n_out, n_in = channels_last.shape
    q, r = np.linalg.qr(noise("normal", (n_out, n_in)))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    channels_last[tuple((k - 1) // 2 for k in field)] = gain * q
    return w


def moments(shape: Shape, *, gain: float, **said: Any) -> tuple[float, float]:
    # a column of length gain at one place of the field, spread over the out * field places
    in_axis = axes(said)[0]
    return 0.0, abs(gain) / math.sqrt(math.prod(shape) / shape[in_axis])


def check(shape: Shape, options: Options) -> None:
    finite("delta_orthogonal", options, "gain")
    require(len(shape) in (3, 4, 5), f"delta_orthogonal: shape is {shape}, expected 3, 4 or 5 axes")
    require(0 not in shape, f"delta_orthogonal: shape is {shape}, expected no axis of size 0")
    check_channels("delta_orthogonal", shape, options)
    in_axis, out_axis, _ = axes(options)
    n_in, n_out = shape[in_axis], shape[out_axis]
    require(
        n_in <= n_out,
        f"delta_orthogonal: {n_out} channels go out, expected at least the {n_in} that come in",
    )


SPEC = Initializer(
    name="delta_orthogonal",
    path="initializers/delta_orthogonal",
    doc=__doc__,
    options={"gain": 1.0, "in_axis": 1, "out_axis": 0, "layout": None},
    from_noise=from_noise,
    moments=moments,
    check=check,
    trials=({}, {"gain": -1.7}, {"in_axis": -2, "out_axis": -1}, {"layout": "HWIO"}),
    rejects=(
        Reject("delta_orthogonal: shape is (3, 4), expected 3, 4 or 5", {"shape": (3, 4)}),
        Reject("delta_orthogonal: shape is (3, 0, 5), expected no axis", {"shape": (3, 0, 5)}),
        Reject("3 channels go out, expected at least the 4", {"shape": (3, 4, 5)}),
        Reject("gain is nan, expected a finite", {"shape": (4, 3, 5)}, {"gain": math.nan}),
        Reject("are (0, 0), expected two axes", {"shape": (3, 4, 5)}, {"in_axis": 0}),
        Reject("layout is 'IO' of 2 axes, expected", {"shape": (3, 4, 5)}, {"layout": "IO"}),
        Reject("layout is 'NOI', expected none with N", {"shape": (3, 4, 5)}, {"layout": "NOI"}),
    ),
)
