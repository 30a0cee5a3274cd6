"""Between a rule and the engine: what backward returns before the engine sums and casts it, which
arguments ask for a gradient, which outputs are used."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from bpx.verify.candidate.plan import Check, NotRun
from bpx_torch.candidate.setting import Setting, close

Found = Iterator[dict[str, Any]]
LARGEST = 4  # arguments of which every subset is tried; of more, single ones and pairs


def checks(trial: Any, quick: bool) -> list[Check]:
    found = [
        Check("return", f"{dtype} backward", partial(raw, trial, dtype))
        for dtype in ("float64", "float32")
    ]
    found.append(Check("return", "device and dtype of outputs", partial(outputs, trial)))
    if not quick:
        found.append(Check("subset", "requires_grad", partial(subsets, trial)))
        found.append(Check("unused", "outputs", partial(unused, trial)))
    return found


def _functions(ys: list[torch.Tensor]) -> list[Any]:
    """The custom Functions in the graph of some outputs."""
    seen, found, stack = set(), [], [y.grad_fn for y in ys if y.grad_fn is not None]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "_forward_cls"):
            found.append(node)
        stack += [n for n, _ in node.next_functions]
    return found


def raw(trial: Any, dtype: str) -> Found:
    """Count, shape, dtype and device of what each backward returns."""
    from dataclasses import replace

    point = replace(trial.points.generic(0), dtype=dtype)
    s = Setting(trial, point=point)
    leaves = s.leaves()
    ys = s.outputs(leaves)
    nodes = _functions(ys)
    if not nodes:
        if not any(y.requires_grad for y in ys):
            yield {"what": "outputs", "message": "have no gradient at all: the graph is cut"}
            return
        raise NotRun("no autograd.Function is in the graph")
    returned: dict[Any, Any] = {}
    classes = {node._forward_cls for node in nodes}
    before = {cls: cls.__dict__.get("backward") for cls in classes}
    for cls in classes:
        cls.backward = staticmethod(partial(_recorded, cls.backward, returned))
    try:
        s.host.grads(ys, leaves, s.dys)
    finally:
        for cls, method in before.items():
            if method is None:
                del cls.backward
            else:
                cls.backward = method
    if not returned:
        raise NotRun("backward was not reached through its class")
    for node in nodes:
        if node in returned:
            yield from _judged(node, returned[node])


def _recorded(backward: Any, returned: dict[Any, Any], ctx: Any, *dys: Any) -> Any:
    out = backward(ctx, *dys)
    returned[ctx] = (ctx.needs_input_grad, out)
    return out


def _judged(node: Any, record: Any) -> Found:
    needs, out = record
    name = node._forward_cls.__name__
    grads = list(out) if isinstance(out, tuple | list) else [out]
    if len(grads) != len(needs):
        extra = grads[len(needs) :]
        fine = len(grads) > len(needs) and all(g is None for g in extra)
        message = "" if fine else f"returns {len(grads)} gradients, expected {len(needs)}"
        yield {"what": name, "message": message}
    after = [(n, k) for n, k in node.next_functions if n is not None]
    places = [i for i, asked in enumerate(needs) if asked]
    for i, (following, k) in zip(places, after, strict=False):
        g = grads[i] if i < len(grads) else None
        want = getattr(following, "variable", None)
        if want is None:
            metadata = getattr(following, "_input_metadata", None)
            want = metadata[k] if metadata else None
        if g is None or want is None:
            continue  # an absent gradient shows where the values are compared
        what, shape = f"{name}: gradient of input {i}", tuple(want.shape)
        problem = ""
        if not isinstance(g, torch.Tensor):
            problem = f"is {type(g).__name__}, expected a tensor"
        elif tuple(g.shape) != shape:
            problem = f"has shape {tuple(g.shape)}, expected {shape} (the engine sums in silence)"
        elif g.dtype != want.dtype:
            problem = f"has dtype {g.dtype}, expected {want.dtype} (the engine casts in silence)"
        elif g.device != want.device:
            problem = f"is on {g.device}, expected {want.device}"
        yield {"what": what, "message": problem}


def outputs(trial: Any) -> Found:
    """Outputs lie on the device of the arguments, and differ from them."""
    s = Setting(trial)
    leaves = s.leaves()
    for i, y in enumerate(s.outputs(leaves)):
        problem = "" if y.device == leaves[0].device else f"is on {y.device}, expected cpu"
        yield {"what": f"output {i}", "message": problem}


def subsets(trial: Any) -> Found:
    """Every subset of arguments asking for a gradient gives the same gradients."""
    s = Setting(trial)
    full, floats = s.grads(), [i for i, a in enumerate(trial.asked) if a]
    if len(floats) < 2:
        raise NotRun("there is one argument with a gradient")
    sizes = range(1, len(floats)) if len(floats) <= LARGEST else (1, 2)
    for size in sizes:
        for chosen in itertools.combinations(floats, size):
            asked = [i in chosen for i in range(len(trial.asked))]
            try:
                grads = s.grads(s.leaves(asked=asked))
            except Exception as error:
                text = " ".join(str(error).split())[:160]
                yield {
                    "what": f"arguments {chosen} alone",
                    "message": f"raises {type(error).__name__}: {text}",
                }
                continue
            for i in chosen:
                yield close(grads[i], full[i], f"gradient of argument {i} when {chosen} ask")


def unused(trial: Any) -> Found:
    """Each output alone: the others get no gradient at all."""
    s = Setting(trial)
    places = [i for i, d in enumerate(s.dys) if d is not None]
    if len(places) < 2:
        raise NotRun("there is one output")
    for used in places:
        dys = [d if i == used else None for i, d in enumerate(s.dys)]
        zeros = [
            None if d is None else d if i == used else torch.zeros_like(d)
            for i, d in enumerate(s.dys)
        ]
        for i, (g, w) in enumerate(zip(s.grads(dys=dys), s.grads(dys=zeros), strict=True)):
            yield close(g, w, f"gradient of argument {i} when output {used} alone is used")
