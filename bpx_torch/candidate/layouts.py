"""Memory layouts of arguments and of the incoming gradient: the contiguous result is the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from bpx.verify.candidate.plan import Check, NotRun
from bpx_torch.candidate.setting import Setting, close

Found = Iterator[dict[str, Any]]


def _transposed(t: torch.Tensor) -> torch.Tensor:
    return t.transpose(0, -1).contiguous().transpose(0, -1) if t.dim() > 1 else t


def _strided(t: torch.Tensor) -> torch.Tensor:
    """Every second place of a larger storage, behind an offset."""
    if not t.dim():
        return torch.stack([torch.zeros_like(t), t])[1]
    wide = torch.zeros((*t.shape[:-1], 2 * t.shape[-1] + 3), dtype=t.dtype)
    if t.is_floating_point():
        wide += 9.5
    view = wide[..., 2 : 2 + 2 * t.shape[-1] : 2]
    view.copy_(t)
    return view


def _row_of_cat(t: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.zeros_like(t), t, torch.zeros_like(t)])[1]


def _channels_last(t: torch.Tensor) -> torch.Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return t.contiguous(memory_format=formats[t.dim()]) if t.dim() in formats else t


def _sign_pending(t: torch.Tensor) -> torch.Tensor:
    """Minus its memory: what torch makes of the imaginary part of a conjugate."""
    return torch._neg_view(-t) if t.is_floating_point() else t


def _expanded(t: torch.Tensor) -> torch.Tensor:
    """The first entry along the first dim, in every place without a copy."""
    return t[:1].expand(t.shape) if t.dim() and t.shape[0] else t


LAYOUTS = {
    "transposed": _transposed,
    "strided": _strided,
    "row of cat": _row_of_cat,
    "channels last": _channels_last,
    "sign pending": _sign_pending,
}


def checks(trial: Any, quick: bool) -> list[Check]:
    found = [
        Check("layout", f"{side} {name}", partial(run, trial, change))
        for name, change in LAYOUTS.items()
        for side, run in (("inputs", inputs), ("dy", incoming))
    ]
    found.append(Check("layout", "dy expanded", partial(expanded_dy, trial)))
    found.append(Check("layout", "dy constant by sum", partial(summed, trial)))
    if not quick:
        found.append(Check("layout", "inputs expanded", partial(expanded_inputs, trial)))
    return found


def _is_new(tensors: Any, change: Any) -> bool:
    return any(
        (t is not None and change(t.detach()).stride() != t.stride())
        or change in (_row_of_cat, _sign_pending)
        for t in tensors
    )


def inputs(trial: Any, change: Any) -> Found:
    s = Setting(trial)
    if not _is_new(s.leaves(), change):
        raise NotRun("no argument has another layout of this kind")
    leaves = s.leaves(change)
    want = s.leaves()
    for i, (y, w) in enumerate(zip(s.outputs(leaves), s.outputs(want), strict=True)):
        yield close(y.detach(), w.detach(), f"output {i}")
    for i, (g, w) in enumerate(zip(s.grads(leaves), s.grads(want), strict=True)):
        yield close(g, w, f"gradient of argument {i}")


def incoming(trial: Any, change: Any) -> Found:
    s = Setting(trial)
    if not _is_new(s.dys, change):
        raise NotRun("no incoming gradient has another layout of this kind")
    changed = [None if d is None else change(d) for d in s.dys]
    for i, (g, w) in enumerate(zip(s.grads(dys=changed), s.grads(), strict=True)):
        yield close(g, w, f"gradient of argument {i}")


def expanded_dy(trial: Any) -> Found:
    """Rows of stride zero, against the same values written out."""
    s = Setting(trial)
    dys = [None if d is None else _expanded(d) for d in s.dys]
    plain = [None if d is None else d.contiguous() for d in dys]
    for i, (g, w) in enumerate(zip(s.grads(dys=dys), s.grads(dys=plain), strict=True)):
        yield close(g, w, f"gradient of argument {i}")


def summed(trial: Any) -> Found:
    """What y.sum().backward() sends: one number with stride zero in every dim."""
    s = Setting(trial)
    one = [None if d is None else torch.full((), 0.7, dtype=d.dtype).expand(d.shape) for d in s.dys]
    plain = [None if d is None else d.contiguous() for d in one]
    for i, (g, w) in enumerate(zip(s.grads(dys=one), s.grads(dys=plain), strict=True)):
        yield close(g, w, f"gradient of argument {i}")


def expanded_inputs(trial: Any) -> Found:
    s = Setting(trial)

    def floats(t: torch.Tensor) -> torch.Tensor:
        return _expanded(t) if t.is_floating_point() else t

    got = s.grads(s.leaves(floats))
    want = s.grads(s.leaves(lambda t: floats(t).contiguous()))
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        yield close(g, w, f"gradient of argument {i}")
