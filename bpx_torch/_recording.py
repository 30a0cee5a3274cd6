"""A rule's call as one recorded call of the native core, for bpx/native/torch_node.cc.

A plan (bpx_torch/_fast.py) fixes options, dtypes and shapes, so the kernel's Python does the same
each time: it makes arrays and runs the core once, with sizes and numbers that do not change. It is
run here once on copies, and what it hands to the core is written down. Torch operations beside
that, reading a number from a tensor among them, are seen by a dispatch mode, and then nothing is
recorded, but for one: the plain kernel of a rule that only moves shapes makes a view, forward and
backward. What a call hands over must follow from options, dtypes and shapes: tests/test_node.py
holds every case of every rule, with other values, against the kernel's Python.
"""

from dataclasses import replace
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bpx_torch import _node
from bpx_torch.kernels.cpu import _call

LARGEST = 1 << 25  # bytes of arguments beyond which a call's own work is all that counts
ABSENT, GIVEN, MADE = (0, 0), 1, 2
MAKING = frozenset(
    "aten.empty.memory_format aten.empty_like.default aten.empty_strided.default "
    "aten.new_empty.default aten.new_empty_strided.default aten.detach.default".split()
)
VIEWING = frozenset({"aten.view.default", "aten.detach.default"})


class Refused(Exception):
    """Why a kernel's call is not one call of the core."""


def recorded(owner, plan, arrays):
    """The call of a plan as a torch_node.Callable, None where it cannot be one."""
    run = owner.runs[plan.place]
    if run.kept is None:
        return None
    if not plan.view and sum(a.nbytes for a in arrays if a is not None) > LARGEST:
        return None
    try:
        return _forward(owner, plan, run, arrays)
    except Refused:
        return None


def add(owner, plan, arrays, needs):
    """Record what backward does for these needs; whether it could."""
    try:
        plan.node.add(needs, *_backward(owner, plan, owner.runs[plan.place], arrays, needs))
    except Refused:
        return False
    return True


def _forward(owner, plan, run, arrays):
    given = _copies(arrays)
    call, (y, residuals) = _watched(lambda: plan.forward(*given, **plan.options), plan.view)
    if plan.view:
        _same(y, given[0])
        made = [y]
    elif call is None:
        raise Refused("the core is not called")
    else:
        made = _made(call, given, [y])
    places = _Places(given, made)
    outputs = [r for r in residuals if r is not y]
    return _node.module().Callable(
        f"{owner.spec.name}_{owner.kernels[plan.place].name}Backward",
        call and call.packed(places),
        made,
        [places.of(given[i]) for i in run.kept] + [places.of(r) for r in residuals],
        [places.of(r) if d else ABSENT for r, d in zip(outputs, run.derived, strict=False)],
        [torch.empty(()) if a is None else a for a in arrays] if run.linked else [],
        _slow(plan, run),
    )


def _backward(owner, plan, run, arrays, needs):
    given = _copies(arrays)
    y, residuals = plan.forward(*given, **plan.options)
    dy = torch.zeros(y.shape, dtype=y.dtype)
    rest = [None] * len(given)
    for i in run.kept:
        rest[i] = given[i]
    for i, a in zip(run.shaped, plan.unseen, strict=True):
        rest[i] = a
    call, grads = _watched(
        lambda: plan.backward(dy, rest, residuals, needs, **plan.options), plan.view
    )
    grads = [g if need else None for g, need in zip(grads, needs, strict=True)]
    for g, a in zip(grads, arrays, strict=True):
        if g is not None and (g.dtype, g.shape) != (a.dtype, a.shape):
            raise Refused("a gradient is converted")
    known = [dy, *(given[i] for i in run.kept), *residuals]
    made = [g for g in grads if g is not None and g is not dy]
    if plan.view:
        for g in made:
            _same(g, dy)
    elif call is None and made:
        raise Refused("the core is not called")
    else:
        made = _made(call, known, made)
    places = _Places(known, made)
    return call and call.packed(places), made, [places.of(g) for g in grads]


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


class _Recorder(TorchDispatchMode):
    """Counts the operations of torch that do more than make an array."""

    def __init__(self, allowed):
        super().__init__()
        self.allowed, self.others = allowed, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.others += str(func) not in self.allowed
        return func(*args, **(kwargs or {}))


def _watched(function, view):
    """(the one Call that a function makes of the core or None, what it returns)."""
    allowed = VIEWING if view else MAKING
    with torch.no_grad(), _Recorder(allowed) as seen, _call.recording() as calls:
        found = function()
    if seen.others or len(calls) > 1:
        raise Refused(f"{seen.others} operations of torch, {len(calls)} calls of the core")
    return calls[0] if calls else None, found


class _Places:
    """Where an array of a call is found when it is made again."""

    def __init__(self, given, made):
        self.known = {_at(a): (GIVEN, i) for i, a in enumerate(given) if a is not None}
        self.known |= {_at(a): (MADE, i) for i, a in enumerate(made)}

    def of(self, a):
        if a is None:
            return ABSENT
        if _at(a) not in self.known:
            raise Refused("an array is neither given nor made")
        return self.known[_at(a)]


def _copies(arrays):
    """Each on its own memory, so that an address tells which it is."""
    return [
        None if a is None else a.detach().clone(memory_format=torch.contiguous_format)
        for a in arrays
    ]


def _made(call, given, made):
    """`made` and whatever else the core writes to; Refused unless each is a whole array on memory
    of its own."""
    known = {_at(a) for a in (*given, *made) if a is not None}
    for a in call.arrays if call else ():
        if a is not None and _at(a) not in known:
            known.add(_at(a))
            made.append(a)
    for a in made:
        if not (a.is_contiguous() and a.untyped_storage().nbytes() == a.nbytes):
            raise Refused("an array is a part of another")
    if len({_at(a) for a in made}) < len(made):
        raise Refused("two results are one array")
    return made


def _same(view, given):
    """Refused unless it is the same elements in the same order."""
    if not (view.is_contiguous() and _at(view) == _at(given) and view.nbytes == given.nbytes > 0):
        raise Refused("y is not a view")


def _at(a):
    """Which array it is; one without elements has no address, and is every other of its kind."""
    return a.data_ptr() or (a.shape, a.dtype)
