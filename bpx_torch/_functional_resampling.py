"""The resizing of torch.nn.functional over the rules of bpx, re-exported by bpx_torch.functional.

Modes "nearest", "nearest-exact", "linear", "bilinear" and "trilinear", without antialias. Inputs
are floating.
"""

import warnings

from bpx.spec import SpecError
from bpx_torch.layers import upsample_linear as _linear
from bpx_torch.layers import upsample_nearest as _nearest

LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5}
MODES = ["nearest", "nearest-exact", *LINEAR]


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    if mode not in MODES:
        raise SpecError(f"interpolate: mode is {mode!r}, expected one of {MODES}")
    if antialias:
        raise SpecError(f"interpolate: antialias is {antialias!r}, expected False")
    if (size is None) == (scale_factor is None):
        raise SpecError(
            f"interpolate: size is {size!r} and scale_factor is {scale_factor!r}, expected one of "
            "them"
        )
    if recompute_scale_factor and size is not None:
        raise SpecError(
            f"interpolate: recompute_scale_factor is {recompute_scale_factor!r}, expected None "
            "where a size is given"
        )
    how = {"size": _each(size)}
    if scale_factor is not None:
        how = {"scale_factor": _each(scale_factor)}
        if recompute_scale_factor:
            sizes = input.shape[2:]
            each = how["scale_factor"]
            each = each if isinstance(each, tuple) else (each,) * len(sizes)
            how = {"size": tuple(int(s * f) for s, f in zip(sizes, each, strict=True))}
    if mode not in LINEAR:
        if align_corners is not None:
            raise SpecError(
                f"interpolate: align_corners is {align_corners!r}, expected None with mode {mode!r}"
            )
        return _nearest.upsample_nearest(input, **how, exact=mode == "nearest-exact")
    if input.ndim != LINEAR[mode]:
        raise SpecError(
            f"interpolate: input has shape {tuple(input.shape)}, expected {LINEAR[mode]} axes with "
            f"mode {mode!r}"
        )
    return _linear.upsample_linear(input, **how, align_corners=bool(align_corners))


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input, size=None, scale_factor=None):
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)


def _deprecated(name):
    warnings.warn(f"{name}: torch has deprecated it; use interpolate", stacklevel=3)


def _each(value):
    return tuple(value) if isinstance(value, (list, tuple)) else value


_REASONS = {"resampling: not written yet": "affine_grid grid_sample"}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
