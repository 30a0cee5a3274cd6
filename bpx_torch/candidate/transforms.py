"""vmap, torch.func.grad, checkpoint and torch.compile: a loop, or the plain call, is the oracle.

A transform that a rule refuses with an error is named as refused; one that it answers must answer
right."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from bpx.verify.candidate.plan import Check, NotRun
from bpx_torch.candidate.setting import Setting, close

Found = Iterator[dict[str, Any]]
BATCH = 3
REFUSALS = (RuntimeError, NotImplementedError, torch._dynamo.exc.TorchDynamoException)


def checks(trial: Any, full: bool) -> list[Check]:
    found = [
        Check("transform", "checkpoint", partial(checkpointed, trial)),
        Check("transform", "func.grad", partial(func_grad, trial)),
    ]
    if trial.vmap:
        found += [
            Check("transform", f"vmap in_dims {name}", partial(vmapped, trial, name))
            for name in ("0", "1", "-1", "mixed")
        ]
    if full:
        found.append(Check("transform", "compile", partial(compiled, trial)))
    return found


def _refused(error: Exception, what: str) -> NotRun:
    text = " ".join(str(error).split())[:120]
    return NotRun(f"{what} is refused: {text}")


def checkpointed(trial: Any) -> Found:
    s = Setting(trial)

    def f(*leaves: torch.Tensor, **options: Any) -> Any:
        return checkpoint(partial(trial.counted, **options), *leaves, use_reentrant=False)

    for i, (g, w) in enumerate(zip(s.grads(f=f), s.grads(), strict=True)):
        yield close(g, w, f"gradient of argument {i}")


def _loss(s: Setting) -> Any:
    def loss(*leaves: torch.Tensor) -> torch.Tensor:
        ys = s.outputs(list(leaves))
        return sum((y * d).sum() for y, d in zip(ys, s.dys, strict=True) if d is not None)

    return loss


def func_grad(trial: Any) -> Found:
    s = Setting(trial)
    places = tuple(i for i, a in enumerate(trial.asked) if a)
    plain = [t.detach() for t in s.leaves()]
    try:
        got = torch.func.grad(_loss(s), argnums=places)(*plain)
    except REFUSALS as error:
        raise _refused(error, "torch.func") from error
    want = s.grads()
    for g, i in zip(got, places, strict=True):
        yield close(g, want[i] if want[i] is not None else torch.zeros_like(g), f"argument {i}")


def vmapped(trial: Any, name: str) -> Found:
    """A batch of calls with the batch in different places, against a loop; with gradients."""
    settings = [Setting(trial, point=_batch(trial, k)) for k in range(BATCH)]
    columns = list(zip(*(s.leaves() for s in settings), strict=True))
    dims: list[int | None] = []
    stacked = []
    for i, column in enumerate(columns):
        ndim = column[0].dim() + 1
        dim: int | None = {
            "0": 0,
            "1": min(1, ndim - 1),
            "-1": ndim - 1,
            "mixed": i % 2 * (ndim - 1),
        }[name]
        if name == "mixed" and i == len(columns) - 1 and i:
            dim = None
        dims.append(dim)
        tensors = [t.detach() for t in column]
        stacked.append(tensors[0] if dim is None else torch.stack(tensors, dim))
    places = tuple(i for i, a in enumerate(trial.asked) if a)
    options = settings[0].options
    dys = settings[0].dys

    def one(*leaves: torch.Tensor) -> torch.Tensor:
        from bpx_torch.candidate.host import listed

        ys = listed(trial.counted(*leaves, **options))
        return sum((y * d).sum() for y, d in zip(ys, dys, strict=True) if d is not None)

    def values(*leaves: torch.Tensor) -> Any:
        from bpx_torch.candidate.host import listed

        return tuple(listed(trial.counted(*leaves, **options)))

    leaves = [t.clone().requires_grad_(a) for t, a in zip(stacked, trial.asked, strict=True)]
    try:
        grads = torch.func.vmap(torch.func.grad(one, argnums=places), in_dims=tuple(dims))(*stacked)
        ys = torch.func.vmap(values, in_dims=tuple(dims))(*leaves)
    except REFUSALS as error:
        if name == "0" or not _works_at_0(trial):
            raise _refused(error, "vmap") from error
        text = " ".join(str(error).split())[:160]
        yield {"what": "vmap", "message": f"works with the batch in dim 0, and here raises: {text}"}
        return
    batched = [None if d is None else d.expand(BATCH, *d.shape) for d in dys]
    outer = settings[0].host.grads(ys, leaves, batched)
    for i, g in zip(places, grads, strict=True):
        if dims[i] is not None:
            moved = None if outer[i] is None else outer[i].movedim(dims[i], 0)
            yield close(moved, g, f"gradient of argument {i} through vmap")
    for k in range(BATCH):
        leaves = [
            (t if d is None else t.select(d, k)).detach().clone().requires_grad_(a)
            for t, d, a in zip(stacked, dims, trial.asked, strict=True)
        ]
        outs = settings[0].outputs(leaves)
        for i, (y, w) in enumerate(zip(ys, outs, strict=True)):
            yield close(y[k].detach(), w.detach(), f"output {i} of call {k}")
        want = settings[0].host.grads(outs, leaves, dys)
        for g, i in zip(grads, places, strict=True):
            w = want[i] if want[i] is not None else torch.zeros_like(g[k])
            yield close(g[k], w, f"gradient of argument {i} of call {k}")


def _works_at_0(trial: Any) -> bool:
    try:
        return all(not item.get("message") for item in vmapped(trial, "0"))
    except NotRun:
        return False


def _batch(trial: Any, k: int) -> Any:
    """The generic point with other values: equal shapes for every k."""
    from bpx.verify.candidate.point import Point

    sizes = trial.points.sizes(0)
    arrays = trial.points.arrays(sizes, f"batch {k}")
    return Point("transform", f"batch {k}", arrays, trial.points.first)


def compiled(trial: Any) -> Found:
    s = Setting(trial)
    torch._dynamo.reset()
    call = trial.f

    def f(*leaves: torch.Tensor) -> Any:
        return call(*leaves, **s.options)

    try:
        fast = torch.compile(f, backend="aot_eager")
        got = s.grads(f=lambda *leaves, **_: fast(*leaves))
    except REFUSALS as error:
        raise _refused(error, "torch.compile") from error
    finally:
        torch._dynamo.reset()
    for i, (g, w) in enumerate(zip(got, s.grads(), strict=True)):
        yield close(g, w, f"gradient of argument {i}")
