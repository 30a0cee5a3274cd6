"""torch's own pools, resizing and flattening, for bpx_torch/oracles.py."""

import torch
import torch.nn.functional as F


def _max_pool(x, **options):
    return {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}[x.ndim](x, **options)


def _avg_pool(x, *, kernel_size=2, stride=None, padding=0, divisor_override=None, **options):
    if x.ndim > 3:
        pool = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
        options["divisor_override"] = divisor_override
        return pool(x, kernel_size, stride, padding, **options)
    y = F.avg_pool1d(x, kernel_size, stride, padding, **options)
    return y if divisor_override is None else y * kernel_size / divisor_override


def _adaptive(name):
    def pool(x, *, output_size=1):
        sizes = output_size if isinstance(output_size, tuple) else (output_size,) * (x.ndim - 2)
        sizes = [s if o is None else o for s, o in zip(x.shape[2:], sizes, strict=True)]
        return getattr(F, f"{name}{x.ndim - 2}d")(x, sizes)

    return pool


def _resize(x, size, scale_factor, mode, **options):
    how = {"size": size} if size is not None else {"scale_factor": scale_factor}
    return F.interpolate(x, **how, mode=mode, **options)


def _upsample_nearest(x, *, size=None, scale_factor=2.0, exact=False):
    return _resize(x, size, scale_factor, "nearest-exact" if exact else "nearest")


def _upsample_linear(x, *, size=None, scale_factor=2.0, align_corners=False):
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
    return _resize(x, size, scale_factor, mode, align_corners=align_corners)


ORACLES = {
    "flatten": lambda x, *, start_dim=0, end_dim=-1: torch.flatten(x, start_dim, end_dim),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive("adaptive_avg_pool"),
    "adaptive_max_pool": _adaptive("adaptive_max_pool"),
    "upsample_nearest": _upsample_nearest,
    "upsample_linear": _upsample_linear,
}

DIFFERS: dict[str, dict[str, str]] = {}
