"""What a rule does to memory: arguments and saved tensors it must not write to, runs that must be
equal, calls that must not meet, memory that must be written before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from bpx.verify.candidate.plan import Check, NotRun
from bpx_torch.candidate.layouts import _strided
from bpx_torch.candidate.setting import Setting, close

Found = Iterator[dict[str, Any]]


def checks(trial: Any, quick: bool) -> list[Check]:
    found = [
        Check("purity", "arguments and dy", partial(purity, trial, False)),
        Check("purity", "arguments and dy strided", partial(purity, trial, True)),
        Check("purity", "saved tensors", partial(saved, trial)),
        Check("repeat", "backward twice", partial(repeat, trial)),
    ]
    if not quick:
        found += [
            Check("repeat", "whole calls", partial(again, trial)),
            Check("interleave", "another call between", partial(interleave, trial)),
            Check("neighbour", "saved by the operation before", partial(before, trial)),
            Check("neighbour", "output used twice", partial(after, trial)),
            Check("memory", "unwritten", partial(poison, trial)),
        ]
    return found


def _bytes(t: torch.Tensor) -> torch.Tensor:
    """The whole storage, neighbours of a view included."""
    return torch.tensor([], dtype=torch.uint8).set_(t.untyped_storage()).clone()


def purity(trial: Any, strided: bool) -> Found:
    """Bytes of every argument and incoming gradient, and around them, before and after."""
    s = Setting(trial)
    leaves = s.leaves(_strided if strided else lambda t: t)
    dys = [d if d is None or not strided else _strided(d) for d in s.dys]
    watched = {f"argument {i}": t for i, t in enumerate(leaves)}
    watched |= {f"incoming gradient {i}": d for i, d in enumerate(dys) if d is not None}
    before = {k: _bytes(t.detach()) for k, t in watched.items()}
    ys = s.outputs(leaves)
    for k, t in watched.items():
        same = torch.equal(_bytes(t.detach()), before[k])
        yield {"what": k, "message": "" if same else "is written to by forward"}
    s.host.grads(ys, leaves, dys)
    for k, t in watched.items():
        same = torch.equal(_bytes(t.detach()), before[k])
        yield {"what": k, "message": "" if same else "is written to by backward"}


def saved(trial: Any) -> Found:
    """What forward saved is what a second backward finds."""
    s, kept = Setting(trial), []

    def pack(t: torch.Tensor) -> torch.Tensor:
        kept.append((t, t.detach().clone()))
        return t.detach()  # a saved output that were itself would never be freed

    leaves = s.leaves()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        ys = s.outputs(leaves)
    s.host.grads(ys, leaves, s.dys, retain_graph=True)
    if not kept:
        raise NotRun("nothing is saved as a tensor")
    for k, (t, copy) in enumerate(kept):
        message = "" if _equal(t.detach(), copy) else "is written to by backward"
        yield {"what": f"saved tensor {k}", "message": message}


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    same = a == b
    if a.is_floating_point():
        same |= a.isnan() & b.isnan()
    return bool(same.all())


def _same(trial: Any, g: Any, w: Any, what: str) -> dict[str, Any]:
    if trial.nondeterministic:
        return close(g, w, what)
    if g is None or w is None:
        return {"what": what, "message": "" if g is w else "comes once and not again"}
    return {"what": what, "message": "" if _equal(g, w) else "differs from run to run"}


def repeat(trial: Any) -> Found:
    """Backward twice through one graph."""
    s = Setting(trial)
    leaves = s.leaves()
    ys = s.outputs(leaves)
    runs = [s.host.grads(ys, leaves, s.dys, retain_graph=True) for _ in range(2)]
    runs = [runs[0], runs[1]]
    for i, (a, b) in enumerate(zip(*runs, strict=True)):
        yield _same(trial, b, a, f"gradient of argument {i}")


def again(trial: Any) -> Found:
    """The whole call twice, the incoming gradient a fresh copy."""
    s = Setting(trial)
    runs = [s.grads(dys=[None if d is None else d.clone() for d in s.dys]) for _ in range(2)]
    for i, (a, b) in enumerate(zip(*runs, strict=True)):
        yield _same(trial, b, a, f"gradient of argument {i}")


def interleave(trial: Any) -> Found:
    """Forward, another forward and backward with other values, and only then backward."""
    s, other = Setting(trial, 0), Setting(trial, 1)
    want = s.grads()
    leaves = s.leaves()
    ys = s.outputs(leaves)
    other.grads()
    for i, (g, w) in enumerate(zip(s.host.grads(ys, leaves, s.dys), want, strict=True)):
        yield close(g, w, f"gradient of argument {i}")


def before(trial: Any) -> Found:
    """Behind sigmoid, whose backward reads the tensor that the rule is given."""
    s = Setting(trial)
    args = trial.points.args
    places = [
        i
        for i, asked in enumerate(trial.asked)
        if asked and args[i].inside(torch.tensor([0.05, 0.95]).numpy())
    ]
    if not places:
        raise NotRun("no argument takes values between 0 and 1")
    raw = s.leaves()

    def through(*leaves: torch.Tensor) -> list[torch.Tensor]:
        return [t.sigmoid() if i in places else t for i, t in enumerate(leaves)]

    inside = [t.detach().requires_grad_(t.requires_grad) for t in through(*raw)]
    want = s.grads(inside)
    values = [t.detach().clone() for t in inside]  # the rule may have written to them
    fresh = through(*s.leaves())
    want = s.grads([t.detach().clone().requires_grad_(t.requires_grad) for t in fresh])
    got = s.host.grads(s.outputs(through(*raw)), raw, s.dys)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        if w is not None and i in places:
            slope = raw[i].detach().sigmoid() * (1 - raw[i].detach().sigmoid())
            yield close(g, w * slope, f"gradient through sigmoid of argument {i}")
        elif w is not None:
            yield close(g, w, f"gradient of argument {i}")
    del values


def after(trial: Any) -> Found:
    """The output squared and summed with itself: two uses, one of which saved it."""
    s = Setting(trial)
    leaves = s.leaves()
    ys = s.outputs(leaves)
    floats = [y for y in ys if y.requires_grad]
    if not floats:
        raise NotRun("no output has a gradient")
    loss = sum((y * y).sum() + 3 * y.sum() for y in floats)
    got = s.host.grads([loss], leaves, [torch.ones((), dtype=loss.dtype)])
    dys = [2 * y.detach() + 3 if y.requires_grad else None for y in ys]
    size = max(float(d.abs().max()) for d in dys if d is not None and d.numel())
    for i, (g, w, usual) in enumerate(zip(got, s.grads(dys=dys), s.grads(), strict=True)):
        # where a gradient nearly cancels, its terms are as large as elsewhere
        floor = size * float(usual.abs().max()) if usual is not None and usual.numel() else 0.0
        yield close(g, w, f"gradient of argument {i}", floor=floor)


def poison(trial: Any) -> Found:
    """Fresh memory is filled with NaN; what is read before it is written shows."""
    for k in (0, 1):
        s = Setting(trial, k)
        want = s.grads()
        mode = torch.are_deterministic_algorithms_enabled()
        warn = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            got = s.grads()
        finally:
            torch.use_deterministic_algorithms(mode, warn_only=warn)
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            yield close(g, w, f"gradient of argument {i}")
