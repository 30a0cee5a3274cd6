"""A rule's call as recorded steps, for bpx/native/torch_node.cc.

A plan (bpx_torch/_fast.py) fixes options, dtypes and shapes, so the kernel's Python does the same
each time: it makes arrays, calls the core with sizes and numbers that do not change, and lets torch
do operations that follow from those alone (OPERATIONS: products, convolutions, sums,
and what only looks at an array another way). It is run here once on copies, and the calls and
operations are written down in their order. Any other operation of torch, reading a number from a
tensor among them, is seen by a dispatch mode, and then nothing is recorded. The plain kernel of a
rule that only moves shapes makes a view, forward and backward. What a call hands over must follow
from options, dtypes and shapes: tests/test_node.py holds every case of every rule, with other
values, against the kernel's Python.
"""

from dataclasses import replace
from types import SimpleNamespace

import torch

from bpx_torch import _node
from bpx_torch._given import apart, extent, packed
from bpx_torch._steps import ABSENT, Operation, Places, Refused, at, watched

LARGEST = 1 << 25  # bytes of arguments beyond which a call's own work is all that counts


def record(owner, plan, arrays):
    """Give a plan its node, of arrays as they lie or of copies without their gaps."""
    if all(map(apart, arrays)):
        plan.node = recorded(owner, plan, arrays)
    given = packed(owner.spec.name, arrays)
    if plan.node is None and given is not arrays:
        plan.node, plan.packs = recorded(owner, plan, given), True


def recorded(owner, plan, arrays):
    """The call of a plan as a torch_node.Callable, None where it cannot be one."""
    run = owner.runs[plan.place]
    if run.kept is None or any(a is not None and not a.is_cpu for a in arrays):
        return None
    if not plan.view and sum(extent(a) for a in arrays if a is not None) > LARGEST:
        return None
    try:
        return _forward(owner, plan, run, _copies(arrays))
    except Refused:
        return None


def add(owner, plan, arrays, needs):
    """Record what backward does for these needs; whether it could."""
    try:
        plan.node.add(needs, *_backward(owner, plan, owner.runs[plan.place], arrays, needs))
    except Refused:
        return False
    return True


def _forward(owner, plan, run, given):
    options = plan.options
    if run.early:
        options = {**options, "needs": tuple(a is not None for a in given)}
    steps, fresh, (y, residuals) = watched(lambda: plan.forward(*given, **options), plan.view)
    if len(residuals) > len(owner.spec.residuals):
        raise Refused("forward takes gradients, by which of them are asked for")
    outputs = [r for r in residuals if r is not y]
    kept, residuals = _kept(run, plan, given, residuals)
    if plan.view:
        _same(y, given[0])
        made = [y]
    elif not steps:
        raise Refused("nothing is done")
    else:
        # what is kept without elements, whose address says nothing, is made beside the rest
        empty = {at(r): r for r in residuals if r is not None and r.numel() == 0}
        made = [*empty.values(), *_made(steps, fresh, given, [y])]
    places = Places(given, made)
    return _node.module().Callable(
        f"{owner.spec.name}_{owner.kernels[plan.place].name}Backward",
        *_packed_steps(steps, made, places),
        y,
        places.of(y),
        [places.of(a) for a in (*kept, *residuals)],
        [places.of(r) for r in outputs],
        [places.of(r) if d else ABSENT for r, d in zip(outputs, run.derived, strict=False)],
        [torch.empty(()) if a is None else a for a in given] if run.linked else [],
        given,
        _slow(plan, run),
    )


def _backward(owner, plan, run, arrays, needs):
    given = _copies(arrays)
    y, residuals = plan.forward(*given, **plan.options)
    dy = torch.zeros_like(y)
    kept, residuals = _kept(run, plan, given, residuals)
    rest = [None] * len(given)
    for i, a in zip(run.kept, kept, strict=True):
        rest[i] = a
    for i, a in zip(run.shaped, plan.unseen, strict=True):
        rest[i] = a
    steps, fresh, grads = watched(
        lambda: plan.backward(dy, rest, residuals, needs, **plan.options), plan.view
    )
    grads = [g if need else None for g, need in zip(grads, needs, strict=True)]
    for g, a in zip(grads, arrays, strict=True):
        if g is not None and (g.dtype, g.shape) != (a.dtype, a.shape):
            raise Refused("a gradient is converted")
    known = [dy, *kept, *residuals]
    made = [g for g in grads if g is not None and g is not dy]
    if plan.view:
        for g in made:
            _same(g, dy)
    elif not steps and made:
        raise Refused("nothing is done")
    else:
        made = _made(steps, fresh, known, made)
    places = Places(known, made)
    return *_packed_steps(steps, made, places), [places.of(g) for g in grads]


def _kept(run, plan, given, residuals):
    """(arguments, residuals) as they are saved."""
    saved = *(given[i] for i in run.kept), *residuals
    if run.trimmed is not None:
        saved = run.trimmed(saved, given, plan.options)
    return saved[: len(run.kept)], saved[len(run.kept) :]


def _packed_steps(steps, made, places):
    """(the steps, the arrays that are made before the first)."""
    results = [s.result for s in steps if isinstance(s, Operation)]
    return [s.packed(places) for s in steps], made[: len(made) - len(results)]


def _slow(plan, run):
    """The Function's backward, for what is asked of it beside numbers."""
    backward, linked = run.saving().backward, run.linked
    plan = replace(plan, node=None)  # which holds this function
    shapes = tuple(plan.sizes) if linked else ()

    def slow(dys, saved, needs, link):
        if linked:
            saved = (*saved, dys[0].new_zeros(0) if link is None else link)
        ctx = SimpleNamespace(
            plan=plan,
            options=plan.options,
            dtypes=plan.dtypes,
            shapes=plan.shapes,
            sizes=shapes,
            saved_tensors=saved,
            needs_input_grad=(False, *needs),
        )
        return backward(ctx, *dys)[1:]

    return slow


def _copies(arrays):
    """Each on its own memory, so that an address tells which it is, and as it lies."""
    return [
        None if a is None else a.new_empty_strided(a.shape, a.stride()).copy_(a.detach())
        for a in arrays
    ]


def _made(steps, fresh, given, results):
    """What is made before the first step, for the core to write to, then what operations of torch
    gave, in their order. Refused unless each of the results is a whole array on memory of its
    own."""
    known = {at(a) for a in given if a is not None}
    made, operations = [], []
    for step in steps:
        new = [a for a in step.arrays if a is not None and at(a) not in known]
        if any(a.data_ptr() not in fresh for a in new):
            raise Refused("an array is from elsewhere")
        made += {at(a): a for a in new}.values()
        known |= {at(a) for a in new}
        if isinstance(step, Operation):
            operations.append(step.result)
            known.add(at(step.result))
    for a in (*results, *made):
        if at(a) not in known:
            raise Refused("a result is not of a step")
        turned = not a.is_contiguous() and a.data_ptr() not in fresh  # of what an operation gave
        if turned or a.untyped_storage().nbytes() != a.nbytes:
            raise Refused("an array is a part of another")
    taken = {a.untyped_storage().data_ptr() for a in given if a is not None}
    for a in results:
        if a.untyped_storage().data_ptr() in taken:
            raise Refused("a result is an argument or another result")
        taken.add(a.untyped_storage().data_ptr())
    return made + operations


def _same(view, given):
    """Refused unless it is the same elements in the same order."""
    same = view.data_ptr() == given.data_ptr() and view.nbytes == given.nbytes > 0
    if not (same and view.is_contiguous()):
        raise Refused("y is not a view")
