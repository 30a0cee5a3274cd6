"""What a function does with tensors as recorded steps: calls of the core, operations of torch.

What is written down follows from the shapes alone as long as no operation reads a number; which
operations may be among the steps is OPERATIONS, and any other is counted by a dispatch mode.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bpx_torch.kernels.cpu import _call

ABSENT, GIVEN, MADE = (0, 0), 1, 2
MAKING = frozenset(
    "aten.empty.memory_format aten.empty_like.default aten.empty_strided.default "
    "aten.new_empty.default aten.new_empty_strided.default".split()
)
DETACH = "aten.detach.default"
VIEWING = frozenset({"aten.view.default", DETACH})
OPERATIONS = frozenset(
    "aten.convolution.default aten.mm.default aten.addmm.default aten.t.default aten.view.default "
    "aten._unsafe_view.default aten.transpose.int aten.permute.default aten.unsqueeze.default "
    "aten.slice.Tensor aten.select.int aten.sum.dim_IntList".split()
)
CONSTANTS = (type(None), bool, int, float, torch.dtype)


class Refused(Exception):
    """Why a kernel's call cannot be recorded."""


@dataclass(frozen=True)
class Operation:
    """One of torch's, as it was done."""

    function: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    result: torch.Tensor

    @property
    def arrays(self):
        return [a for a in (*self.arguments, *self.named.values()) if isinstance(a, torch.Tensor)]

    def packed(self, places):
        """(name, overload, what each argument is: a place as a tuple, or a constant)."""
        schema, given = self.function._schema, list(self.arguments)
        for argument in schema.arguments[len(given) :]:
            given.append(self.named.get(argument.name, argument.default_value))
        return schema.name, schema.overload_name, [_packed(v, places) for v in given]


def _packed(value, places):
    if isinstance(value, torch.Tensor):
        return places.of(value)
    if isinstance(value, list | tuple) and all(type(v) is int for v in value):
        return list(value)
    if type(value) not in CONSTANTS:
        raise Refused(f"an argument is {value}")
    return value


class _Recorder(TorchDispatchMode):
    """Writes operations down, and counts those that cannot be; `fresh` are the addresses of arrays
    that were made without numbers."""

    def __init__(self, view, steps):
        super().__init__()
        self.silent, self.steps = VIEWING if view else MAKING | {DETACH}, steps
        self.others, self.fresh = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if str(func) in MAKING:
            self.fresh.add(found.data_ptr())
        if str(func) not in self.silent:
            self.others += str(func) not in OPERATIONS
            self.steps.append(Operation(func, args, kwargs or {}, found))
        return found


def watched(function, view):
    """(what a function does, calls of the core and operations of torch; the addresses of what it
    made for them to write to; what it returns)."""
    steps = []
    with torch.no_grad(), _Recorder(view, steps) as seen, _call.recording(steps):
        found = function()
    if seen.others or (view and steps):
        raise Refused(f"{seen.others} operations of torch that are not recorded")
    return steps, seen.fresh, found


class Places:
    """Where an array of a call is found when it is made again: the first that is the same."""

    def __init__(self, given, made):
        self.known = {}
        for source, arrays in ((GIVEN, given), (MADE, made)):
            for i, a in enumerate(arrays):
                if a is not None:
                    self.known.setdefault(at(a), (source, i))

    def of(self, a):
        if a is None:
            return ABSENT
        if at(a) not in self.known:
            raise Refused("an array is neither given nor made")
        return self.known[at(a)]


def at(a):
    """Which array it is, and how it is looked at; one without elements has no address, and is every
    other of its kind."""
    return a.data_ptr(), a.dtype, a.shape, a.stride()
