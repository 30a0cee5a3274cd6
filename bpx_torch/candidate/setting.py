"""A rule at one point in torch: leaves, outputs, gradients, and how two results are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bpx.verify.candidate.point import Point

Change = Callable[[torch.Tensor], torch.Tensor]


class Setting:
    """The generic point `k` of a trial, or `point`, as float64 tensors."""

    def __init__(self, trial: Any, k: int = 0, point: Point | None = None) -> None:
        self.trial, self.host = trial, trial.host
        self.point = point or trial.points.generic(k)
        self.options = self.point.options
        self.dtype = self.point.dtype
        self.dys = self._cotangents()

    def _cotangents(self) -> list[Any]:
        ys = self.outputs(self.leaves(), grad=False)
        values = [y.detach().numpy() for y in ys]
        dys = self.trial.cotangents(values, self.dtype)
        return [None if d is None else self.host.tensor(d, self.dtype) for d in dys]

    def leaves(self, change: Change = lambda t: t, asked: Any = None) -> list[torch.Tensor]:
        """Fresh leaves, each passed through `change`; those with a gradient ask for it."""
        found = []
        for a, grad in zip(self.point.arrays, asked or self.trial.asked, strict=True):
            t = change(self.host.tensor(a, self.dtype)).detach()
            found.append(t.requires_grad_() if grad else t)
        return found

    def outputs(self, leaves: list[torch.Tensor], grad: bool = True, f: Any = None) -> list[Any]:
        from bpx_torch.candidate.host import listed

        with torch.set_grad_enabled(grad):
            return listed((f or self.trial.counted)(*leaves, **self.options))

    def grads(self, leaves: Any = None, dys: Any = None, f: Any = None, **how: Any) -> list[Any]:
        leaves = self.leaves() if leaves is None else leaves
        dys = self.dys if dys is None else dys
        return self.host.grads(self.outputs(leaves, f=f), leaves, dys, **how)


def close(
    got: Any, want: Any, what: str, limit: float = 1e-12, floor: float = 0.0
) -> dict[str, Any]:
    """A comparison of two results of the same rule: equal up to the order of sums. `floor` is the
    size of terms that cancel."""
    if got is None or want is None:
        g, w = (
            0 if t is None else int(torch.count_nonzero(t.nan_to_num(nan=1.0))) for t in (got, want)
        )
        return {"what": what, "message": "" if (g == 0) == (w == 0) else "is absent on one side"}
    if got.shape != want.shape:
        return {
            "what": what,
            "message": f"has shape {tuple(got.shape)}, expected {tuple(want.shape)}",
        }
    same = (got == want) | (got.isnan() & want.isnan())
    if bool(same.all()):
        return {"what": what}
    scale = max(float(want.abs().nan_to_num(posinf=0.0).max()), floor) or 1e-300
    off = float((got - want).abs()[~same].max())
    ratio = off / (limit * scale) if off == off else float("inf")
    message = f"is off by {off:.3g} of {scale:.3g}" if not ratio <= 1 else ""
    return {"what": what, "ratio": ratio, "eps": off / scale / 2.0**-52, "message": message}
