"""What bpx_jax.health has seen of a step, and the samples of a run."""

import re
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from bpx import health
from bpx.health import Layer, Parameter, Sample
from bpx.health.thresholds import ENTRY
from bpx.spec import SpecError
from bpx_jax import _health_measure as measure
from bpx_jax._health_vectors import split

AHEAD = 100  # steps that a History lets run ahead of what it has read
ARRAYS = ("flag", "numbers", "updates")


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True)
class Statistics:
    """What was seen of one step, a pytree of a few arrays: one of hundreds would cost more to hand
    over than to compute.

    flag      whether this step was looked at, a scalar, where that was decided by a traced boolean;
              None where it was known when the step was traced: `sampled` tells
    numbers   a few for each layer and parameter: `parts` tells them apart; zeros where the flag is
              False, None where it was known that the step is not looked at
    updates   the size of each parameter's update, from `with_updates`; None before, and as numbers
    """

    flag: Any
    numbers: Any
    updates: Any
    tags: tuple
    names: tuple
    shapes: tuple

    @property
    def sampled(self):
        """Whether this step was looked at: a bool where that was known when it was traced, and else
        the scalar array."""
        return self.numbers is not None if self.flag is None else self.flag

    def tree_flatten_with_keys(self):
        arrays = [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in ARRAYS]
        return arrays, replace(self, **dict.fromkeys(ARRAYS))

    @classmethod
    def tree_unflatten(cls, bare, arrays):
        flag, numbers, updates = arrays
        if flag is numbers is updates is None:  # of nine steps in ten: nothing is made for these
            return bare
        return cls(flag, numbers, updates, bare.tags, bare.names, bare.shapes)

    def parts(self):
        """(tag's name -> its sums, one dict of numbers for each parameter: sums of weight and
        gradient, twins), of a step that was looked at."""
        return split(np.asarray(self.numbers), self.tags, self.shapes)


class History(health.History):
    """The samples of a run: `add` each step's Statistics, then `report()`."""

    def __init__(self, keep=1000):
        super().__init__(keep)
        self._coming = deque()  # steps that may not be computed yet, with their Statistics
        self._last = -1

    def add(self, step, seen):
        """Keep the Statistics of a step, the first being step 0; those that were not sampled are
        passed over. Does not wait for the step to be computed, but where the flags of AHEAD are
        not. Raises
        SpecError for anything else, and for a step that does not come after the last."""
        if not isinstance(seen, Statistics):  # messages are made for what is refused alone
            raise SpecError(
                f"{ENTRY}: seen is {type(seen).__name__}, expected the Statistics of value_and_grad"
            )
        if step <= self._last:
            raise SpecError(
                f"{ENTRY}: step is {step}, expected more than {self._last}, the step before it"
            )
        self._last = step = int(step)
        if seen.numbers is None:
            return
        if seen.flag is None and not self._coming:
            self.postpone(step, partial(_sample, step, seen))
            return
        self._coming.append((step, seen))
        while self._coming and (len(self._coming) > AHEAD or _is_there(self._coming[0][1].flag)):
            self._settle()

    @property
    def samples(self):
        while self._coming:
            self._settle()
        return super().samples

    def _settle(self):
        step, seen = self._coming.popleft()
        if np.asarray(seen.sampled):
            self.postpone(step, partial(_sample, step, seen))  # read when asked for


def _is_there(flag):
    """Whether it can be read without waiting; what is no array of JAX's always can."""
    ready = getattr(flag, "is_ready", None)
    return ready is None or ready()


def _sample(step, seen):
    seen = jax.device_get(seen)
    sums, of_parameters = seen.parts()
    layers = [
        _layer(name, each, sums[name])
        for name, each in seen.tags
        if sums[name]["activation"][0] > 0  # what the value does not depend on has no sums
    ]
    owners = sorted((layer.name for layer in layers), key=len, reverse=True)
    parameters = []
    updates = [None] * len(seen.names) if seen.updates is None else seen.updates.tolist()
    of_each = zip(seen.names, seen.shapes, of_parameters, updates, strict=True)
    for name, shape, each, update in of_each:
        owner = next((o for o in owners if name == o or name.startswith(f"{o}.")), None)
        parameters.append(
            Parameter(
                name,
                name.rpartition(".")[0] if owner is None else owner,
                shape,
                measure.moments(each["weight"]),
                measure.moments(each["gradient"]),
                update,
                float(each["twins"]) if "twins" in each else None,
            )
        )
    return Sample(step, tuple(layers), tuple(sorted(parameters, key=lambda p: _natural(p.name))))


def _layer(name, each, seen):
    sums = dict(zip(measure.FIELDS, seen["activation"].tolist(), strict=True))
    activation = measure.moments(seen["activation"])
    examples = round(sums["count"] / each.units) if each.units else 0
    dead = float((seen["alive"] == 0).mean()) if examples > 1 else None
    bounded = health.KINDS[each.kind] is not None and activation.count
    return Layer(
        name,
        each.kind,
        activation,
        measure.moments(seen["gradient"]),
        dead,
        sums["saturated"] / activation.count if bounded else None,
        examples,
    )


def _natural(name):
    """Layer 10 after layer 9: runs of digits count as numbers."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", name) if t]
