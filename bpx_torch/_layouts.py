"""Layouts in which an array holds the same values."""

import torch


def _strided(t):
    """The same values in every second place of a larger storage, with an offset."""
    if not t.dim():
        return torch.stack([t, t + 1])[0]
    size, fill = (*t.shape[:-1], 2 * t.shape[-1] + 1), 9.5 if t.is_floating_point() else 0
    wide = torch.full(size, fill, dtype=t.dtype, device=t.device)
    view = wide[..., 1 : 1 + 2 * t.shape[-1] : 2]
    view.copy_(t)
    return view


def _transposed(t):
    return t.transpose(0, -1).contiguous().transpose(0, -1) if t.dim() > 1 else t


def _row_of_cat(t):
    return torch.stack([t, t + 1])[0] if t.is_floating_point() else t


def _channels_last(t):
    """A picture or volume with its channels innermost."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return t.contiguous(memory_format=formats[t.dim()]) if t.dim() in formats else t


def _sign_pending(t):
    """Minus its memory: what torch makes of the imaginary part of a conjugate."""
    return torch._neg_view(-t) if t.is_floating_point() else t


def expanded(t):
    return t[:1].expand(t.shape) if t.dim() else t  # the first row in every row, without a copy


LAYOUTS = {
    "strided": _strided,
    "transposed": _transposed,
    "row of cat": _row_of_cat,
    "channels_last": _channels_last,
    "sign pending": _sign_pending,
}
