"""The outputs of one layer in one step and their gradients, for bpx_torch.health."""

from math import prod

import torch

from bpx.health import KINDS
from bpx_torch import _health_measure as measure
from bpx_torch import _health_native as core


class Call:
    """The calls of one layer in one step."""

    def __init__(self, kind):
        self.kind, self.activation, self.gradient, self.saturated = kind, [], [], []
        self.alive, self.examples, self.open = None, 0, True
        self.plain = kind != "relu" and KINDS[kind] is None

    def output(self, x, at, axis):
        """Count an output, whose core.address is `at` and whose units lie on axis 1 or -1."""
        if at and self.plain:
            self.activation.append(core.look(x, at))
        elif not at:
            self.activation.append(measure.moments(x))
            self.saturated.append(measure.saturated(x, self.kind))
            if self.kind == "relu":
                self._units(x, axis)
        elif self.kind == "relu":
            self.activation.append(core.look(x, at, *self._places(x, axis)))
        else:
            row = core.look(x, at, bounds=measure.bounds(x, self.kind))
            self.activation.append(row[:4])
            self.saturated.append(row[4])

    def slope(self, g):
        """A tensor's hook; after the step, where the graph is kept, it does nothing."""
        at = core.address(g) if self.open else 0
        if at:
            self.gradient.append(core.look(g, at))
        elif self.open and not core.inside(g):
            self.gradient.append(measure.moments(g))

    def _places(self, x, axis):
        """Where the units of x that are alive are noted, and where they lie."""
        if not (shape := x.shape):
            return 0, core.NO_UNITS
        units = shape[axis]
        if self._count(units, x):
            self.alive = torch.zeros(units, dtype=torch.bool, device="cpu")
        inner = prod(shape[2:]) if axis == 1 else 1
        return self.alive.data_ptr(), (x.numel() // (units * inner), units, inner)

    def _units(self, x, axis):
        alive = measure.alive(x, axis)
        if alive is not None and alive.numel():
            self.alive = alive if self._count(alive.numel(), x) else self.alive | alive

    def _count(self, units, x):
        """Count examples of each unit; whether these units are the first."""
        before = self.alive
        first = before is None or len(before) != units or before.device != x.device
        self.examples = x.numel() // units + (0 if first else self.examples)
        return first
